// SPDX-License-Identifier: MIT
// Finds discarded memory that is resident again, by asking the kernel's page tables now and then
// (PAGEMAP_SCAN, Linux 6.7). What a refault is called after is seen, not when it happened: it lies
// between two scans.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shared/address.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/unique_fd.hpp"

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
  struct Region {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t categories = 0;
  };

  RefaultWatch(const GuestMemory& memory, UniqueFd pagemap);

  void set(abi::Gpa start, std::uint64_t bytes, bool watched);
  [[nodiscard]] bool take(std::uint64_t frame);

  std::uint64_t base_; // host address of guest RAM
  std::uint64_t bytes_;
  UniqueFd pagemap_;
  std::vector<std::uint64_t> watched_; // bit per frame
  std::vector<Region> regions_;        // scratch of scan()
};

} // namespace vmm
