// SPDX-License-Identifier: MIT
// The host directories that a program sees, opened before the guest runs, and the way from a path
// of the guest's to a place beneath one of them.
//
// Symbolic links and ".." lead as after chroot into the directory that the path begins in: they
// never leave it, and those of one do not lead into another.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/settings/program_request.hpp"

namespace vmm {

class FileMounts {
 public:
  // `root` is what the guest sees as /; the binds lie in it or over it. User error for what is no
  // directory.
  static Result<FileMounts> open(const std::string& root, std::span<const ProgramMount> binds);

  // A path within one of the directories.
  struct Place {
    int directory = -1;
    std::string path; // relative, not empty
    MountAccess access = MountAccess::read_only;
  };
  [[nodiscard]] Place place_of(std::string_view path) const;

  // What is found, or an error number.
  template <typename T> using Or = std::expected<T, int>;

  // openat2 beneath the place's directory.
  [[nodiscard]] static Or<UniqueFd> open_beneath(const Place& place, std::uint64_t flags,
                                                 std::uint64_t mode = 0);
  // The same for what only names a file; refuses those of file systems that say much about the host
  // or do something when they are used (proc, sysfs, cgroup, ...).
  [[nodiscard]] static Or<UniqueFd> locate(const Place& place, std::uint64_t flags);

  // The folder of a place, and the name in it, for calls that take a name: it has no slash and is
  // neither "." nor "..".
  struct Parent {
    UniqueFd folder;
    std::string name;
  };
  [[nodiscard]] static Or<Parent> parent_of(const Place& place);

 private:
  struct Mount {
    std::string guest; // with a slash at the end
    UniqueFd directory;
    MountAccess access = MountAccess::read_only;
  };

  explicit FileMounts(std::vector<Mount> mounts) : mounts_(std::move(mounts)) {}

  std::vector<Mount> mounts_; // longest path first; the last is the root's
};

} // namespace vmm
