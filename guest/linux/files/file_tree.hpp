// SPDX-License-Identifier: MIT
// What a program sees as its files: file systems, each at a folder, and the way from a path to a
// place in one of them, as a kernel walks it: links, dots, and from one file system to the other.
// Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "guest/linux/base/text.hpp"
#include "guest/linux/files/file_system.hpp"

namespace guest::linux {

class FileTree {
 public:
  enum class Paths : std::uint8_t { whole, below_the_mount }; // what the file system is told

  // At the same folder the later wins. `path` is absolute, without a slash at its end; empty: the
  // root, which comes first.
  void mount(std::string_view path, FileSystem& system, Paths paths);

  // Where a path leads.
  struct Place {
    FileSystem* system = nullptr;
    std::size_t mount = 0; // tells mounts apart
    Text path;             // from the root; empty: the root itself
    std::size_t from = 0;  // where in `path` begins what the file system is told
    Or<abi::FileStat> stat = std::unexpected(ENOENT); // or nothing is there
    bool slash = false;                               // it was named as a folder
    std::optional<std::uint64_t> descriptor{}; // a file that is open already, instead of all that

    [[nodiscard]] std::string_view inner() const {
      return path.size() <= from ? std::string_view(from == 0 ? "/" : "") : view(path).substr(from);
    }
    [[nodiscard]] std::string_view whole() const { return path.empty() ? "/" : view(path); }
  };
  // A link at the path's end: it is followed; it is followed where a slash asks for a folder;
  // never, because the name itself is meant; it is followed, and whoever makes a file there looks
  // for slashes.
  enum class Last : std::uint8_t { follow, keep, name, make };

  // From `folder`, a Place::path. What is missing at the end of the path is a place without stat,
  // anywhere else ENOENT. ENOTDIR, ELOOP, ENAMETOOLONG.
  [[nodiscard]] Or<Place> walk(std::string_view folder, std::string_view path, Last last);

  // A folder's content with what is mounted in it. The place has been found.
  [[nodiscard]] Or<File*> open_folder(const Place& place);
  // Whether something is mounted there, or below.
  [[nodiscard]] bool is_busy(const Place& place) const;

  struct MountPoint {
    std::string_view path; // absolute
    FileSystem& system;
  };
  [[nodiscard]] std::vector<MountPoint> mounts() const;

 private:
  struct Mount {
    Text path;
    FileSystem* system = nullptr;
    Paths paths = Paths::whole;
  };

  [[nodiscard]] std::size_t mount_of(std::string_view path) const;
  [[nodiscard]] bool has_mounts_below(std::string_view path) const;
  [[nodiscard]] Place look_at(Text path);

  std::vector<Mount> mounts_;
};

} // namespace guest::linux
