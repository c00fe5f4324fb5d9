// SPDX-License-Identifier: MIT
#include "vmm/hints/discard_calls.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "shared/address.hpp"

namespace vmm {
namespace {

// linux/pidfd.h of 6.14: "this thread", which shares its memory with the whole process. Older
// kernels answer EBADF.
constexpr int pidfd_self = -10000;

constexpr std::size_t page = abi::page_bytes;
constexpr std::size_t scratch_bytes = 4 * page;

bool all_equal(std::span<const std::byte> bytes, std::byte value) {
  return std::all_of(bytes.begin(), bytes.end(), [&](std::byte b) { return b == value; });
}

// Discards pages 0 and 2 of four: they must read as zero and the others as before.
bool discards_exactly(DiscardCalls& calls, int pidfd, std::span<std::byte> scratch) {
  constexpr std::byte mark{0xa5};
  std::memset(scratch.data(), std::to_integer<int>(mark), scratch.size());
  const std::array<iovec, 2> ranges{iovec{scratch.data(), page},
                                    iovec{scratch.data() + 2 * page, page}};
  if (calls.process_madvise(pidfd, ranges, MADV_DONTNEED) != 2 * page) {
    return false;
  }
  return all_equal(scratch.subspan(0, page), std::byte{0}) &&
         all_equal(scratch.subspan(page, page), mark) &&
         all_equal(scratch.subspan(2 * page, page), std::byte{0}) &&
         all_equal(scratch.subspan(3 * page, page), mark);
}

} // namespace

int SystemDiscardCalls::madvise(std::byte* address, std::size_t bytes, int advice) {
  return ::madvise(address, bytes, advice) == 0 ? 0 : errno;
}

std::expected<std::size_t, int>
SystemDiscardCalls::process_madvise(int pidfd, std::span<const iovec> ranges, int advice) {
  // By number: the C library's wrapper is younger than the systems this is built on.
  const long advised =
      ::syscall(SYS_process_madvise, pidfd, ranges.data(), ranges.size(), advice, 0U);
  if (advised < 0) {
    return std::unexpected(errno);
  }
  return static_cast<std::size_t>(advised);
}

int SystemDiscardCalls::punch_hole(int fd, std::uint64_t offset, std::uint64_t bytes) {
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(bytes)) == 0
             ? 0
             : errno;
}

SelfPidfd SelfPidfd::probe(DiscardCalls& calls) {
  SelfPidfd result;
  void* const mapped =
      ::mmap(nullptr, scratch_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return result;
  }
  const auto unmap = [](std::byte* address) { ::munmap(address, scratch_bytes); };
  const std::unique_ptr<std::byte, decltype(unmap)> owner(static_cast<std::byte*>(mapped), unmap);
  const std::span<std::byte> scratch(owner.get(), scratch_bytes);

  if (discards_exactly(calls, pidfd_self, scratch)) {
    result.number_ = pidfd_self;
    return result;
  }
  UniqueFd opened(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U)));
  if (opened.valid() && discards_exactly(calls, opened.get(), scratch)) {
    result.number_ = opened.get();
    result.owned_ = std::move(opened);
  }
  return result;
}

} // namespace vmm
