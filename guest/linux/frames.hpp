// SPDX-License-Identifier: MIT
// Where a program's memory comes from: frames of the page allocator. Guest-virtual and
// guest-physical addresses are equal, so mapping memory is having its frames.
#pragma once

#include <cstdint>
#include <optional>

#include "shared/address.hpp"

namespace guest::linux {

class Frames {
 public:
  // Takes frames [first, first + count), all or none, and makes them read as zero. False when any
  // is in use or there is no such memory.
  [[nodiscard]] virtual bool claim(abi::Pfn first, std::uint64_t count) = 0;
  // Where so many frames in a row are free, and claims them likewise; empty: out of memory.
  [[nodiscard]] virtual std::optional<abi::Pfn> allocate(std::uint64_t count) = 0;
  // Claimed frames stay claimed and read as zero from now on; what was behind them goes back to the
  // host where that is worth it.
  virtual void renew(abi::Pfn first, std::uint64_t count) = 0;
  // Copies claimed frames to others; the two do not overlap.
  virtual void copy(abi::Pfn to, abi::Pfn from, std::uint64_t count) = 0;
  // Gives frames back that were claimed, whatever they were claimed with.
  virtual void release(abi::Pfn first, std::uint64_t count) = 0;

 protected:
  Frames() = default;
  ~Frames() = default;
};

} // namespace guest::linux
