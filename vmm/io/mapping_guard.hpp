// SPDX-License-Identifier: MIT
// A mapped file that somebody else makes shorter, or whose file system finds no block behind a
// page, answers an access with SIGBUS. While a guard lives, the page becomes one of zeroes of this
// process's own instead, and the guard knows.
#pragma once

#include <cstddef>
#include <span>

namespace vmm {

class MappingGuard {
 public:
  // At most this many at a time in a process; further ones guard nothing.
  static constexpr std::size_t max_guards = 8;

  // The handler for SIGBUS, which stays: a fault in no guarded mapping ends the process by one line
  // and status 135, as the signal would. The first guard does it, too, if it may.
  static void install();

  // `mapping` is whole pages and outlives the guard.
  explicit MappingGuard(std::span<const std::byte> mapping);
  MappingGuard(const MappingGuard&) = delete;
  MappingGuard& operator=(const MappingGuard&) = delete;
  ~MappingGuard();

  // A page was not to be had; whatever was written to it goes nowhere. Any thread.
  [[nodiscard]] bool torn() const;

 private:
  std::size_t slot_ = max_guards;
};

} // namespace vmm
