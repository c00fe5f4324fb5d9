// SPDX-License-Identifier: MIT
#include "vmm/files/file_mounts.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace vmm {
namespace {

// linux/magic.h has none.
constexpr long nsfs_magic = 0x6e736673;
constexpr std::array<long, 9> special_file_systems{
    PROC_SUPER_MAGIC,   SYSFS_MAGIC,  DEBUGFS_MAGIC, TRACEFS_MAGIC,      SECURITYFS_MAGIC,
    CGROUP_SUPER_MAGIC, BPF_FS_MAGIC, nsfs_magic,    CGROUP2_SUPER_MAGIC};

Result<UniqueFd> open_directory(const std::string& path, const char* option) {
  UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) {
    return user_error("{} {}: {}", option, path, errno_text(errno));
  }
  return directory;
}

} // namespace

Result<FileMounts> FileMounts::open(const std::string& root, std::span<const ProgramMount> binds) {
  std::vector<Mount> mounts;
  for (const ProgramMount& bind : binds) {
    EBB_TRY_ASSIGN(directory, open_directory(bind.host, "--bind"));
    mounts.push_back({bind.guest + "/", std::move(directory), bind.access});
  }
  std::ranges::sort(mounts, std::ranges::greater{},
                    [](const Mount& mount) { return mount.guest.size(); });
  EBB_TRY_ASSIGN(directory, open_directory(root, "--root"));
  mounts.push_back({"/", std::move(directory), MountAccess::read_only});
  return FileMounts(std::move(mounts));
}

// Slashes may be doubled, and a path may name the directory itself, with or without a slash.
FileMounts::Place FileMounts::place_of(std::string_view path) const {
  std::string whole = "/";
  for (const char letter : path) {
    if (letter != '/' || whole.back() != '/') {
      whole += letter;
    }
  }
  for (const Mount& mount : mounts_) {
    if (whole.starts_with(mount.guest) || whole + "/" == mount.guest) {
      std::string rest = whole.substr(std::min(whole.size(), mount.guest.size()));
      return {mount.directory.get(), rest.empty() ? "." : std::move(rest), mount.access};
    }
  }
  return {}; // the root's matches all
}

FileMounts::Or<UniqueFd> FileMounts::open_beneath(const Place& place, std::uint64_t flags,
                                                  std::uint64_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | ((flags & O_PATH) != 0 ? 0 : O_NOCTTY);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, place.directory, place.path.c_str(), &how, sizeof how);
  if (fd < 0) {
    return std::unexpected(errno);
  }
  return UniqueFd(static_cast<int>(fd));
}

FileMounts::Or<UniqueFd> FileMounts::locate(const Place& place, std::uint64_t flags) {
  auto found = open_beneath(place, flags | O_PATH);
  if (!found) {
    return found;
  }
  struct statfs system {};
  if (::fstatfs(found->get(), &system) != 0 ||
      std::ranges::find(special_file_systems, static_cast<long>(system.f_type)) !=
          special_file_systems.end()) {
    return std::unexpected(EACCES);
  }
  return found;
}

FileMounts::Or<FileMounts::Parent> FileMounts::parent_of(const Place& place) {
  std::string_view path = place.path;
  while (path.size() > 1 && path.ends_with('/')) {
    path.remove_suffix(1);
  }
  const std::size_t slash = path.rfind('/');
  const std::string_view name = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
  if (name == "." || name == ".." || name.empty()) {
    return std::unexpected(EBUSY);
  }
  Place folder{place.directory, ".", place.access};
  if (slash != std::string_view::npos && slash != 0) {
    folder.path = path.substr(0, slash);
  }
  auto found = locate(folder, O_DIRECTORY);
  if (!found) {
    return std::unexpected(found.error());
  }
  return Parent{std::move(*found), std::string(name)};
}

} // namespace vmm
