// SPDX-License-Identifier: MIT
// Calls that ask about files: where a path leads, and what is said of what is there.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/process/file_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

constexpr std::size_t longest_attribute = 255; // name: XATTR_NAME_MAX

void set_time(timespec& to, std::int64_t ns) {
  to.tv_sec = ns / signed_ns_per_second;
  to.tv_nsec = ns % signed_ns_per_second;
  if (to.tv_nsec < 0) { // before 1970
    to.tv_nsec += signed_ns_per_second;
    --to.tv_sec;
  }
}

struct stat to_stat(const abi::FileStat& from) {
  struct stat to {};
  to.st_dev = from.device;
  to.st_rdev = from.special_device;
  to.st_ino = from.inode;
  to.st_nlink = from.links;
  to.st_mode = from.mode;
  to.st_uid = from.user;
  to.st_gid = from.group;
  to.st_size = static_cast<off_t>(from.bytes);
  to.st_blksize = from.block_bytes;
  to.st_blocks = static_cast<blkcnt_t>(from.blocks);
  set_time(to.st_atim, from.accessed_ns);
  set_time(to.st_mtim, from.modified_ns);
  set_time(to.st_ctim, from.changed_ns);
  return to;
}

void set_statx_time(statx_timestamp& to, std::int64_t ns) {
  timespec time{};
  set_time(time, ns);
  to.tv_sec = time.tv_sec;
  to.tv_nsec = static_cast<std::uint32_t>(time.tv_nsec);
}

struct statfs to_statfs(const abi::FileSpace& from) {
  struct statfs to {};
  to.f_type = static_cast<decltype(to.f_type)>(from.type);
  to.f_bsize = static_cast<decltype(to.f_bsize)>(from.block_bytes);
  to.f_frsize = to.f_bsize;
  to.f_blocks = from.blocks;
  to.f_bfree = from.free_blocks;
  to.f_bavail = from.available_blocks;
  to.f_files = from.files;
  to.f_ffree = from.free_files;
  to.f_namelen = static_cast<decltype(to.f_namelen)>(from.name_bytes);
  return to;
}

} // namespace

Or<abi::FileStat> FileCalls::stat_of_place(const Place& place) {
  if (!place.descriptor) {
    return place.stat;
  }
  const OpenFile* const file = file_at(*place.descriptor);
  return file == nullptr ? Or<abi::FileStat>(std::unexpected(ENOENT)) : file->file->stat();
}

Or<abi::FileStat> FileCalls::stat_of(std::uint64_t directory, std::uint64_t path,
                                     std::uint64_t flags) {
  const Or<std::string_view> text = user_.path_at(path);
  if (!text) {
    return std::unexpected(text.error());
  }
  const bool empty = text->empty() && (flags & AT_EMPTY_PATH) != 0;
  if (empty && static_cast<std::int32_t>(directory) != AT_FDCWD) {
    const OpenFile* const file = file_at(directory);
    return file == nullptr ? Or<abi::FileStat>(std::unexpected(EBADF)) : file->file->stat();
  }
  const Or<Place> place = walk(directory, empty ? "." : *text,
                               (flags & AT_SYMLINK_NOFOLLOW) != 0 ? Last::keep : Last::follow);
  return place ? stat_of_place(*place) : Or<abi::FileStat>(std::unexpected(place.error()));
}

Answer FileCalls::sys_newfstatat(const Args& args) {
  constexpr std::uint64_t known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
  if ((args[3] & ~known) != 0) {
    return -EINVAL;
  }
  const Or<abi::FileStat> stat = stat_of(args[0], args[1], args[3]);
  if (!stat) {
    return -Answer{stat.error()};
  }
  return user_.store(args[2], to_stat(*stat)) ? 0 : -EFAULT;
}

Answer FileCalls::sys_stat(const Args& args) {
  return sys_newfstatat({here, args[0], args[1], 0, 0, 0});
}

Answer FileCalls::sys_lstat(const Args& args) {
  return sys_newfstatat({here, args[0], args[1], AT_SYMLINK_NOFOLLOW, 0, 0});
}

Answer FileCalls::sys_fstat(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  const Or<abi::FileStat> stat = file->file->stat();
  if (!stat) {
    return -Answer{stat.error()};
  }
  return user_.store(args[1], to_stat(*stat)) ? 0 : -EFAULT;
}

Answer FileCalls::sys_statx(const Args& args) {
  const Or<abi::FileStat> stat = stat_of(args[0], args[1], args[2]);
  if (!stat) {
    return -Answer{stat.error()};
  }
  struct statx to {};
  to.stx_mask = STATX_BASIC_STATS;
  to.stx_blksize = stat->block_bytes;
  to.stx_nlink = static_cast<std::uint32_t>(stat->links);
  to.stx_uid = stat->user;
  to.stx_gid = stat->group;
  to.stx_mode = static_cast<std::uint16_t>(stat->mode);
  to.stx_ino = stat->inode;
  to.stx_size = stat->bytes;
  to.stx_blocks = stat->blocks;
  to.stx_dev_major = gnu_dev_major(stat->device);
  to.stx_dev_minor = gnu_dev_minor(stat->device);
  to.stx_rdev_major = gnu_dev_major(stat->special_device);
  to.stx_rdev_minor = gnu_dev_minor(stat->special_device);
  if (stat->born_ns != abi::file_time_unknown) {
    to.stx_mask |= STATX_BTIME;
    set_statx_time(to.stx_btime, stat->born_ns);
  }
  set_statx_time(to.stx_atime, stat->accessed_ns);
  set_statx_time(to.stx_mtime, stat->modified_ns);
  set_statx_time(to.stx_ctime, stat->changed_ns);
  return user_.store(args[4], to) ? 0 : -EFAULT;
}

// By the rights of the program's user as it sees itself; the superuser may read all and run what
// anybody may run. Whether anything may be changed says the file system.
Answer FileCalls::access_of(std::uint64_t directory, std::uint64_t path, std::uint64_t mode,
                            std::uint64_t flags) {
  if ((mode & ~std::uint64_t{R_OK | W_OK | X_OK}) != 0) {
    return -EINVAL;
  }
  const Or<Place> place =
      place_at(directory, path, (flags & AT_SYMLINK_NOFOLLOW) != 0 ? Last::keep : Last::follow);
  const Or<abi::FileStat> stat =
      place ? stat_of_place(*place) : Or<abi::FileStat>(std::unexpected(place.error()));
  if (!stat) {
    return -Answer{stat.error()};
  }
  if ((mode & W_OK) != 0 && !S_ISCHR(stat->mode) && !place->descriptor &&
      !place->system->is_changeable()) {
    return -EROFS;
  }
  using Kind = Credentials::Kind;
  const bool as_effective = (flags & AT_EACCESS) != 0;
  const auto own = [&](Kind kind) {
    const Credentials::Ids& ids = self().credentials.ids(kind);
    return as_effective ? ids.effective : ids.real;
  };
  std::uint64_t granted = stat->mode & 7U;
  if (own(Kind::user) == 0) {
    granted = R_OK | W_OK | ((stat->mode & 0111U) != 0 || S_ISDIR(stat->mode) ? X_OK : 0);
  } else if (stat->user == own(Kind::user)) {
    granted = (stat->mode >> 6) & 7U;
  } else if (stat->group == own(Kind::group)) {
    granted = (stat->mode >> 3) & 7U;
  }
  return (mode & ~granted) == 0 ? 0 : -EACCES;
}

Answer FileCalls::sys_access(const Args& args) {
  return access_of(here, args[0], args[1], 0);
}

Answer FileCalls::sys_faccessat(const Args& args) {
  return access_of(args[0], args[1], args[2], 0);
}

Answer FileCalls::link_text(std::uint64_t directory, std::uint64_t path, std::uint64_t to,
                            std::uint64_t bytes) {
  if (static_cast<std::int32_t>(bytes) <= 0) {
    return -EINVAL;
  }
  const Or<std::string_view> text = user_.path_at(path);
  const OpenFile* const open = text && text->empty() ? file_at(directory) : nullptr;
  // Without a path it is the link that is open there.
  const Or<Place> place = open != nullptr ? walk(here, view(open->path), Last::keep)
                                          : place_at(directory, path, Last::keep);
  if (!place || !place->stat) {
    return -Answer{place ? place->stat.error() : place.error()};
  }
  if (!S_ISLNK(place->stat->mode)) {
    return open != nullptr ? -ENOENT : -EINVAL; // also of folders that only lead to a mount
  }
  const Or<Text> link = place->system->link_text(place->inner());
  if (!link) {
    return -Answer{link.error()};
  }
  const Or<std::span<std::byte>> room =
      user_.room_at(to, std::min<std::uint64_t>(bytes, link->size()));
  if (!room) {
    return -Answer{room.error()};
  }
  std::memcpy(room->data(), link->data(), room->size());
  return static_cast<Answer>(room->size());
}

Answer FileCalls::sys_readlink(const Args& args) {
  return link_text(here, args[0], args[1], args[2]);
}

Answer FileCalls::sys_readlinkat(const Args& args) {
  return link_text(args[0], args[1], args[2], args[3]);
}

// ---- extended attributes: no file has any ------------------------------------------------------

Answer FileCalls::get_attribute(const Or<abi::FileStat>& of, std::uint64_t name) const {
  const Or<std::string_view> text = user_.path_at(name);
  if (!text || text->empty() || text->size() > longest_attribute) {
    return text || text.error() == ENAMETOOLONG ? -ERANGE : -Answer{text.error()};
  }
  return of ? -ENODATA : -Answer{of.error()};
}

Answer FileCalls::sys_getxattr(const Args& args) {
  return get_attribute(stat_of(here, args[0], 0), args[1]);
}
Answer FileCalls::sys_lgetxattr(const Args& args) {
  return get_attribute(stat_of(here, args[0], AT_SYMLINK_NOFOLLOW), args[1]);
}
Answer FileCalls::sys_fgetxattr(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  return file == nullptr ? -EBADF : get_attribute(file->file->stat(), args[1]);
}
Answer FileCalls::sys_listxattr(const Args& args) {
  const Or<abi::FileStat> stat = stat_of(here, args[0], 0);
  return stat ? 0 : -Answer{stat.error()};
}
Answer FileCalls::sys_llistxattr(const Args& args) {
  const Or<abi::FileStat> stat = stat_of(here, args[0], AT_SYMLINK_NOFOLLOW);
  return stat ? 0 : -Answer{stat.error()};
}
Answer FileCalls::sys_flistxattr(const Args& args) {
  return file_at(args[0]) == nullptr ? -EBADF : 0;
}

// Nor can any file have some.
Answer FileCalls::sys_setxattr(const Args& args) {
  const Or<abi::FileStat> stat = stat_of(here, args[0], 0);
  return stat ? -EOPNOTSUPP : -Answer{stat.error()};
}
Answer FileCalls::sys_lsetxattr(const Args& args) {
  const Or<abi::FileStat> stat = stat_of(here, args[0], AT_SYMLINK_NOFOLLOW);
  return stat ? -EOPNOTSUPP : -Answer{stat.error()};
}
Answer FileCalls::sys_fsetxattr(const Args& args) {
  return file_at(args[0]) == nullptr ? -EBADF : -EOPNOTSUPP;
}

Answer FileCalls::sys_getcwd(const Args& args) {
  const std::string_view path = self().directory.empty() ? "/" : view(self().directory);
  const std::uint64_t bytes = path.size() + 1;
  if (args[1] < bytes) {
    return -ERANGE;
  }
  const Or<std::span<std::byte>> to = user_.room_at(args[0], bytes);
  if (!to) {
    return -Answer{to.error()};
  }
  std::memcpy(to->data(), path.data(), path.size());
  to->back() = std::byte{0};
  return static_cast<Answer>(bytes);
}

Answer FileCalls::sys_chdir(const Args& args) {
  Or<Place> place = place_at(here, args[0], Last::follow);
  if (!place || !place->stat) {
    return -Answer{place ? place->stat.error() : place.error()};
  }
  if (place->descriptor || !S_ISDIR(place->stat->mode)) {
    return -ENOTDIR;
  }
  self().directory = std::move(place->path);
  return 0;
}

// Folders are known by their paths, as they were when they were opened.
Answer FileCalls::sys_fchdir(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  if (!file->file->is_folder()) {
    return -ENOTDIR;
  }
  self().directory = view(file->path) == "/" ? Text{} : file->path;
  return 0;
}

Answer FileCalls::sys_statfs(const Args& args) {
  const Or<Place> place = place_at(here, args[0], Last::follow);
  if (!place || !place->stat) {
    return -Answer{place ? place->stat.error() : place.error()};
  }
  const Or<abi::FileSpace> space = place->system->space(place->inner());
  if (!space) {
    return -Answer{space.error()};
  }
  return user_.store(args[1], to_statfs(*space)) ? 0 : -EFAULT;
}

Answer FileCalls::sys_fstatfs(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  const Or<abi::FileSpace> space = file->file->space();
  if (!space) {
    return -Answer{space.error()};
  }
  return user_.store(args[1], to_statfs(*space)) ? 0 : -EFAULT;
}

} // namespace guest::linux
