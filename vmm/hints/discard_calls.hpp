// SPDX-License-Identifier: MIT
// The system calls that discard memory, behind an interface so that tests and fault injection can
// make them fail. Errors are errno values, passed as values: a caller on any thread sees its own.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "vmm/base/unique_fd.hpp"

namespace vmm {

class DiscardCalls {
 public:
  virtual ~DiscardCalls() = default;

  // madvise(2). Returns 0 or errno.
  virtual int madvise(std::byte* address, std::size_t bytes, int advice) = 0;
  // process_madvise(2). Returns the bytes advised, which may be fewer than asked for, or errno.
  virtual std::expected<std::size_t, int> process_madvise(int pidfd, std::span<const iovec> ranges,
                                                          int advice) = 0;
  // fallocate(2) with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. Returns 0 or errno.
  virtual int punch_hole(int fd, std::uint64_t offset, std::uint64_t bytes) = 0;
};

// The real ones. Stateless: one object serves any number of threads.
class SystemDiscardCalls final : public DiscardCalls {
 public:
  int madvise(std::byte* address, std::size_t bytes, int advice) override;
  std::expected<std::size_t, int> process_madvise(int pidfd, std::span<const iovec> ranges,
                                                  int advice) override;
  int punch_hole(int fd, std::uint64_t offset, std::uint64_t bytes) override;
};

// A pidfd of this process that process_madvise was seen to discard memory with: the kernel's
// PIDFD_SELF constant, or a file of our own.
class SelfPidfd {
 public:
  SelfPidfd() = default;

  [[nodiscard]] bool works() const { return number_ != none; }
  [[nodiscard]] int number() const { return number_; }

  // Discards parts of a scratch mapping and looks at its contents, because kernels before 6.13
  // refuse destructive advice and a return value alone proves nothing. Not working is no error:
  // plain madvise does the same with more calls.
  static SelfPidfd probe(DiscardCalls& calls);

 private:
  static constexpr int none = -1; // PIDFD_SELF is negative, too, but not this

  UniqueFd owned_;
  int number_ = none;
};

} // namespace vmm
