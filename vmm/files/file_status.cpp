// SPDX-License-Identifier: MIT
#include "vmm/files/file_status.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vmm/calls/call_result.hpp"

namespace vmm {
namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;

std::int64_t to_ns(const statx_timestamp& time) {
  return std::int64_t{time.tv_sec} * ns_per_second + time.tv_nsec;
}

abi::FileStat to_stat(const struct statx& from) {
  return {.device = ::makedev(from.stx_dev_major, from.stx_dev_minor),
          .inode = from.stx_ino,
          .links = from.stx_nlink,
          .bytes = from.stx_size,
          .blocks = from.stx_blocks,
          .accessed_ns = to_ns(from.stx_atime),
          .modified_ns = to_ns(from.stx_mtime),
          .changed_ns = to_ns(from.stx_ctime),
          .mode = from.stx_mode,
          .user = from.stx_uid,
          .group = from.stx_gid,
          .block_bytes = from.stx_blksize,
          .special_device = ::makedev(from.stx_rdev_major, from.stx_rdev_minor),
          .born_ns =
              (from.stx_mask & STATX_BTIME) != 0 ? to_ns(from.stx_btime) : abi::file_time_unknown};
}

template <typename T> abi::FileResult put(const T& answer, std::span<std::byte> to) {
  std::memcpy(to.data(), &answer, sizeof answer);
  return 0;
}

} // namespace

abi::FileResult put_file_stat(int fd, std::span<std::byte> to) {
  struct statx status {};
  if (to.size() < abi::least_file_stat_bytes) {
    return -EINVAL;
  }
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
    return failed();
  }
  const abi::FileStat answer = to_stat(status);
  std::memcpy(to.data(), &answer, std::min(to.size(), sizeof answer));
  return 0;
}

abi::FileResult put_file_space(int fd, std::span<std::byte> to) {
  struct statfs system {};
  if (to.size() < sizeof(abi::FileSpace)) {
    return -EINVAL;
  }
  if (::fstatfs(fd, &system) != 0) {
    return failed();
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
