// SPDX-License-Identifier: MIT
// How many batches an adversarial host treated in which way; all zero on an honest one.
#pragma once

#include <cstdint>

namespace vmm {

struct FaultCounters {
  std::uint64_t delayed = 0;
  std::uint64_t dropped = 0;
  std::uint64_t stalled = 0;
  std::uint64_t duplicated = 0; // answers really written twice
  std::uint64_t reordered = 0;  // answers that had to wait for a later one
  std::uint64_t declined = 0;
  std::uint64_t failed = 0;
  std::uint64_t partial_ranges = 0; // ranges declined, or failed by hand, in honest batches

  FaultCounters& operator+=(const FaultCounters& other) {
    delayed += other.delayed;
    dropped += other.dropped;
    stalled += other.stalled;
    duplicated += other.duplicated;
    reordered += other.reordered;
    declined += other.declined;
    failed += other.failed;
    partial_ranges += other.partial_ranges;
    return *this;
  }
  [[nodiscard]] std::uint64_t sum() const {
    return delayed + dropped + stalled + duplicated + reordered + declined + failed +
           partial_ranges;
  }
};

} // namespace vmm
