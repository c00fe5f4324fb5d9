// SPDX-License-Identifier: MIT
// Finds discarded memory that is resident again, by asking the kernel's page tables now and then
// (PAGEMAP_SCAN, Linux 6.7). What a refault is called after is seen, not when it happened: it lies
// between two scans.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "shared/address.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/resident_scan.hpp"

namespace vmm {

class RefaultWatch {
 public:
  // Empty where the kernel has no such scan. `memory` outlives the watch.
  static std::optional<RefaultWatch> create(const GuestMemory& memory);

  // Any thread: watch this range from now on, or no longer (it is hinted again).
  void watch(abi::Gpa start, std::uint64_t bytes) { set(start, bytes, true); }
  void forget(abi::Gpa start, std::uint64_t bytes) { set(start, bytes, false); }

  // By one thread at a time: calls found(start, bytes) for watched memory that is resident, in
  // address order, and watches it no longer.
  void scan(const std::function<void(abi::Gpa, std::uint64_t)>& found);

 private:
  RefaultWatch(const GuestMemory& memory, ResidentScan scan);

  void set(abi::Gpa start, std::uint64_t bytes, bool watched);
  [[nodiscard]] bool take(std::uint64_t frame);

  ResidentScan scan_;
  std::vector<std::uint64_t> watched_; // bit per frame
};

} // namespace vmm
