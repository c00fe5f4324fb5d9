// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/process.hpp"
#include "guest/linux/synthetic_files.hpp"

namespace guest::linux {

namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;
constexpr std::uint32_t block_bytes = 4096;

void set_time(timespec& to, std::int64_t ns) {
  to.tv_sec = ns / ns_per_second;
  to.tv_nsec = ns % ns_per_second;
  if (to.tv_nsec < 0) { // before 1970
    to.tv_nsec += ns_per_second;
    --to.tv_sec;
  }
}

struct stat to_stat(const abi::FileStat& from) {
  struct stat to {};
  to.st_dev = from.device;
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
  if (S_ISCHR(from.mode)) {
    to.st_rdev = ::makedev(1, 3);
  }
  return to;
}

void set_statx_time(statx_timestamp& to, std::int64_t ns) {
  timespec time{};
  set_time(time, ns);
  to.tv_sec = time.tv_sec;
  to.tv_nsec = static_cast<std::uint32_t>(time.tv_nsec);
}

// Of what has no file of the host's behind it.
abi::FileStat synthetic_stat(FileKind kind, std::uint64_t bytes) {
  const bool device = kind == FileKind::null || kind == FileKind::zero || kind == FileKind::random;
  abi::FileStat stat;
  stat.device = 1;
  stat.inode = 1 + static_cast<std::uint64_t>(kind);
  stat.links = 1;
  stat.mode = device ? S_IFCHR | 0666U : S_IFREG | 0444U;
  stat.bytes = device ? 0 : bytes;
  stat.block_bytes = block_bytes;
  return stat;
}

} // namespace

Or<std::vector<char>> Process::full_path(std::uint64_t directory, std::string_view path) const {
  if (path.empty()) {
    return std::unexpected(ENOENT);
  }
  std::vector<char> full;
  if (path.front() != '/') {
    const auto descriptor = static_cast<std::int32_t>(directory);
    if (descriptor == AT_FDCWD) {
      full = directory_;
    } else {
      const OpenFile* const file = open_files_.get(directory & 0xffffffff);
      if (file == nullptr) {
        return std::unexpected(EBADF);
      }
      if (file->kind != FileKind::directory) {
        return std::unexpected(ENOTDIR);
      }
      full = file->path;
    }
    if (full.back() != '/') {
      full.push_back('/');
    }
  }
  while (path.starts_with("./")) { // as `find .` and others write it
    path.remove_prefix(2);
  }
  full.insert(full.end(), path.begin(), path.end());
  if (full.size() > abi::file_path_bytes) {
    return std::unexpected(ENAMETOOLONG);
  }
  return full;
}

Or<abi::FileStat> Process::stat_of_file(const OpenFile& file) {
  if (file.kind != FileKind::stream && file.kind != FileKind::regular &&
      file.kind != FileKind::directory) {
    return synthetic_stat(file.kind, file.text.size());
  }
  abi::FileStat stat;
  const Answer got = file_call(abi::FileOperation::stat, file.host_number, 0, &stat, sizeof stat);
  if (got < 0) {
    return std::unexpected(static_cast<int>(-got));
  }
  return stat;
}

Or<abi::FileStat> Process::stat_of_path(std::string_view path, std::uint32_t flags) {
  const SyntheticFacts facts{.program = program_path_,
                             .ram_bytes = machine_.ram_bytes(),
                             .free_bytes = machine_.free_bytes(),
                             .memory = &memory_};
  if (is_synthetic_place(path)) {
    const OpenFile* const file = open_synthetic(path, facts);
    if (file == nullptr) {
      return std::unexpected(ENOENT);
    }
    const abi::FileStat stat = synthetic_stat(file->kind, 0);
    delete file;
    return stat;
  }
  abi::FileStat stat;
  const Answer got = path_call(abi::FileOperation::stat_path, path, flags, &stat, sizeof stat);
  if (got < 0) {
    return std::unexpected(static_cast<int>(-got));
  }
  return stat;
}

Or<abi::FileStat> Process::stat_of(std::uint64_t directory, std::uint64_t path,
                                   std::uint64_t flags) {
  const Or<std::string_view> text = path_at(path);
  if (!text) {
    return std::unexpected(text.error());
  }
  if (text->empty() && (flags & AT_EMPTY_PATH) != 0) {
    if (static_cast<std::int32_t>(directory) == AT_FDCWD) {
      return stat_of_path({directory_.data(), directory_.size()}, 0);
    }
    const OpenFile* const file = open_files_.get(directory & 0xffffffff);
    return file == nullptr ? Or<abi::FileStat>(std::unexpected(EBADF)) : stat_of_file(*file);
  }
  const Or<std::vector<char>> full = full_path(directory, *text);
  if (!full) {
    return std::unexpected(full.error());
  }
  return stat_of_path({full->data(), full->size()},
                      (flags & AT_SYMLINK_NOFOLLOW) != 0 ? abi::file_no_follow : 0U);
}

Answer Process::sys_newfstatat(const Args& args) {
  constexpr std::uint64_t known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
  if ((args[3] & ~known) != 0) {
    return -EINVAL;
  }
  const Or<abi::FileStat> stat = stat_of(args[0], args[1], args[3]);
  if (!stat) {
    return -Answer{stat.error()};
  }
  return store(args[2], to_stat(*stat)) ? 0 : -EFAULT;
}

Answer Process::sys_stat(const Args& args) {
  return sys_newfstatat({static_cast<std::uint64_t>(AT_FDCWD), args[0], args[1], 0, 0, 0});
}

Answer Process::sys_lstat(const Args& args) {
  return sys_newfstatat(
      {static_cast<std::uint64_t>(AT_FDCWD), args[0], args[1], AT_SYMLINK_NOFOLLOW, 0, 0});
}

Answer Process::sys_fstat(const Args& args) {
  const OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  if (file == nullptr) {
    return -EBADF;
  }
  const Or<abi::FileStat> stat = stat_of_file(*file);
  if (!stat) {
    return -Answer{stat.error()};
  }
  return store(args[1], to_stat(*stat)) ? 0 : -EFAULT;
}

Answer Process::sys_statx(const Args& args) {
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
  set_statx_time(to.stx_atime, stat->accessed_ns);
  set_statx_time(to.stx_mtime, stat->modified_ns);
  set_statx_time(to.stx_ctime, stat->changed_ns);
  return store(args[4], to) ? 0 : -EFAULT;
}

// By the rights of the program's user as it sees itself; the superuser may read all and run what
// anybody may run. Nothing can be written to.
Answer Process::access_of(std::uint64_t directory, std::uint64_t path, std::uint64_t mode,
                          std::uint64_t flags) {
  if ((mode & ~std::uint64_t{R_OK | W_OK | X_OK}) != 0) {
    return -EINVAL;
  }
  const Or<abi::FileStat> stat = stat_of(directory, path, flags);
  if (!stat) {
    return -Answer{stat.error()};
  }
  const bool device = S_ISCHR(stat->mode);
  if ((mode & W_OK) != 0 && !device) {
    return -EROFS;
  }
  std::uint64_t granted = stat->mode & 7U;
  if (start_.user == 0) {
    granted = R_OK | W_OK | ((stat->mode & 0111U) != 0 || S_ISDIR(stat->mode) ? X_OK : 0);
  } else if (stat->user == start_.user) {
    granted = (stat->mode >> 6) & 7U;
  } else if (stat->group == start_.group) {
    granted = (stat->mode >> 3) & 7U;
  }
  return (mode & ~granted) == 0 ? 0 : -EACCES;
}

Answer Process::sys_access(const Args& args) {
  return access_of(static_cast<std::uint64_t>(AT_FDCWD), args[0], args[1], 0);
}

Answer Process::sys_faccessat(const Args& args) {
  return access_of(args[0], args[1], args[2], 0);
}

Answer Process::link_text(std::uint64_t directory, std::uint64_t path, std::uint64_t to,
                          std::uint64_t bytes) {
  if (bytes == 0 || static_cast<std::int64_t>(bytes) < 0) {
    return -EINVAL;
  }
  const Or<std::string_view> text = path_at(path);
  if (!text) {
    return -Answer{text.error()};
  }
  const Or<std::vector<char>> full = full_path(directory, *text);
  if (!full) {
    return -Answer{full.error()};
  }
  bytes = std::min(bytes, std::uint64_t{abi::file_path_bytes});
  if (!may_write(to, bytes)) {
    return -EFAULT;
  }
  void* const buffer = reinterpret_cast<void*>(to); // NOLINT(performance-no-int-to-ptr)
  const std::string_view whole(full->data(), full->size());
  if (is_synthetic_place(whole)) {
    const std::string_view link = synthetic_link(whole, {.program = program_path_});
    if (link.empty()) {
      return -ENOENT;
    }
    const std::size_t got = std::min<std::size_t>(bytes, link.size());
    std::memcpy(buffer, link.data(), got);
    return static_cast<Answer>(got);
  }
  return path_call(abi::FileOperation::read_link, whole, 0, buffer, bytes);
}

Answer Process::sys_readlink(const Args& args) {
  return link_text(static_cast<std::uint64_t>(AT_FDCWD), args[0], args[1], args[2]);
}

Answer Process::sys_readlinkat(const Args& args) {
  return link_text(args[0], args[1], args[2], args[3]);
}

// As file systems without them say it.
Answer Process::sys_no_attributes(const Args& /*args*/) {
  return -EOPNOTSUPP;
}

Answer Process::sys_getcwd(const Args& args) {
  const std::uint64_t bytes = directory_.size() + 1;
  if (args[1] < bytes) {
    return -ERANGE;
  }
  if (!may_write(args[0], bytes)) {
    return -EFAULT;
  }
  auto* const to = reinterpret_cast<char*>(args[0]); // NOLINT(performance-no-int-to-ptr)
  std::memcpy(to, directory_.data(), directory_.size());
  to[directory_.size()] = '\0';
  return static_cast<Answer>(bytes);
}

// Keeps the path as it was given: dots in it stay there.
Answer Process::sys_chdir(const Args& args) {
  const Or<std::string_view> text = path_at(args[0]);
  if (!text) {
    return -Answer{text.error()};
  }
  Or<std::vector<char>> full = full_path(static_cast<std::uint64_t>(AT_FDCWD), *text);
  if (!full) {
    return -Answer{full.error()};
  }
  const Or<abi::FileStat> stat = stat_of_path({full->data(), full->size()}, 0);
  if (!stat) {
    return -Answer{stat.error()};
  }
  if (!S_ISDIR(stat->mode)) {
    return -ENOTDIR;
  }
  directory_ = std::move(*full);
  return 0;
}

} // namespace guest::linux
