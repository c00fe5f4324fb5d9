// SPDX-License-Identifier: MIT
// Asks the kernel's page tables which guest memory is resident (PAGEMAP_SCAN, Linux 6.7). The zero
// page, which a read of discarded memory maps, does not count.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "shared/address.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

class ResidentScan {
 public:
  // Empty where the kernel has no such scan. `memory` outlives the scan.
  [[nodiscard]] static std::optional<ResidentScan> create(const GuestMemory& memory);

  // By one thread at a time: found(start, bytes) for resident memory, in address order. False when
  // the kernel broke off.
  bool each(const std::function<void(abi::Gpa start, std::uint64_t bytes)>& found);

 private:
  struct Region { // struct page_region
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t categories = 0;
  };

  ResidentScan(const GuestMemory& memory, UniqueFd pagemap);

  std::uint64_t base_; // host address of guest RAM
  std::uint64_t bytes_;
  UniqueFd pagemap_;
  std::vector<Region> regions_; // scratch of each()
};

} // namespace vmm
