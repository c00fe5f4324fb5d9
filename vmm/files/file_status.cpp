// SPDX-License-Identifier: MIT
#include "vmm/files/file_status.hpp"

#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vmm {
namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;

std::int64_t to_ns(const timespec& time) {
  return std::int64_t{time.tv_sec} * ns_per_second + time.tv_nsec;
}

abi::FileStat to_stat(const struct stat& from) {
  return {.device = from.st_dev,
          .inode = from.st_ino,
          .links = from.st_nlink,
          .bytes = static_cast<std::uint64_t>(from.st_size),
          .blocks = static_cast<std::uint64_t>(from.st_blocks),
          .accessed_ns = to_ns(from.st_atim),
          .modified_ns = to_ns(from.st_mtim),
          .changed_ns = to_ns(from.st_ctim),
          .mode = from.st_mode,
          .user = from.st_uid,
          .group = from.st_gid,
          .block_bytes = static_cast<std::uint32_t>(from.st_blksize)};
}

template <typename T> abi::FileResult put(const T& answer, std::span<std::byte> to) {
  std::memcpy(to.data(), &answer, sizeof answer);
  return 0;
}

} // namespace

int file_status(int fd, struct stat& status) {
  return static_cast<int>(::syscall(SYS_fstat, fd, &status));
}

abi::FileResult put_file_stat(int fd, std::span<std::byte> to) {
  struct stat status {};
  if (to.size() < sizeof(abi::FileStat)) {
    return -EINVAL;
  }
  return file_status(fd, status) == 0 ? put(to_stat(status), to) : -abi::FileResult{errno};
}

abi::FileResult put_file_space(int fd, std::span<std::byte> to) {
  struct statfs system {};
  if (to.size() < sizeof(abi::FileSpace)) {
    return -EINVAL;
  }
  if (::fstatfs(fd, &system) != 0) {
    return -abi::FileResult{errno};
  }
  return put(abi::FileSpace{.type = static_cast<std::uint64_t>(system.f_type),
                            .block_bytes = static_cast<std::uint64_t>(system.f_bsize),
                            .blocks = system.f_blocks,
                            .free_blocks = system.f_bfree,
                            .available_blocks = system.f_bavail,
                            .files = system.f_files,
                            .free_files = system.f_ffree,
                            .name_bytes = static_cast<std::uint64_t>(system.f_namelen)},
             to);
}

} // namespace vmm
