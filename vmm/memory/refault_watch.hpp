// SPDX-License-Identifier: MIT
// Finds discarded memory that is resident again in the passes of a FrameScan. What a refault is
// called after is seen, not when it happened: it lies between two passes.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "shared/address.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

class RefaultWatch {
 public:
  explicit RefaultWatch(const GuestMemory& memory);

  // Any thread: watch this range from now on, or no longer (it is hinted again).
  void watch(abi::Gpa start, std::uint64_t bytes) { set(start, bytes, true); }
  void forget(abi::Gpa start, std::uint64_t bytes) { set(start, bytes, false); }

  // This range is resident, says a pass: calls found(start, bytes) for what of it was watched, in
  // address order, and watches that no longer. One thread at a time.
  void take(abi::Gpa start, std::uint64_t bytes,
            const std::function<void(abi::Gpa, std::uint64_t)>& found);

 private:
  void set(abi::Gpa start, std::uint64_t bytes, bool watched);
  [[nodiscard]] bool take(std::uint64_t frame);

  std::vector<std::uint64_t> watched_; // bit per frame
};

} // namespace vmm
