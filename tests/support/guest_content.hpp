// SPDX-License-Identifier: MIT
// What is in guest RAM, one word a frame, for tests with real threads: the guest stamps what it
// owns and finds the stamp again; the host wipes what it discards. A frame that both believe to be
// theirs shows as a lost stamp.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "shared/address.hpp"

namespace test_support {

class GuestContent {
 public:
  explicit GuestContent(std::uint64_t frames) : words_(frames) {}

  void stamp(abi::Pfn pfn, abi::Order order, std::uint64_t value) {
    for (std::uint64_t frame = 0; frame < order.frames(); ++frame) {
      words_[pfn.value + frame].store(value, std::memory_order_relaxed);
    }
  }
  // Whether every frame of the block holds `value`; an untouched or discarded one holds 0.
  [[nodiscard]] bool holds(abi::Pfn pfn, abi::Order order, std::uint64_t value) const {
    for (std::uint64_t frame = 0; frame < order.frames(); ++frame) {
      if (words_[pfn.value + frame].load(std::memory_order_relaxed) != value) {
        return false;
      }
    }
    return true;
  }
  void discard(abi::Pfn pfn, abi::Order order) { stamp(pfn, order, 0); }

 private:
  std::vector<std::atomic<std::uint64_t>> words_;
};

} // namespace test_support
