// SPDX-License-Identifier: MIT
// Where a program's memory comes from: frames of the page allocator. In RAM, guest-virtual and
// guest-physical addresses are equal, so mapping memory there is having its frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

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
  // Copies pages at an address to others; the two do not overlap.
  virtual void copy(std::uint64_t to, std::uint64_t from, std::uint64_t count) = 0;
  // Writes to claimed frames.
  virtual void write(abi::Gpa to, std::span<const std::byte> from) = 0;
  // Gives frames back that were claimed, whatever they were claimed with.
  virtual void release(abi::Pfn first, std::uint64_t count) = 0;
  // Frames that can be had now, about; and all that there are.
  [[nodiscard]] virtual std::uint64_t free_count() const = 0;
  [[nodiscard]] virtual std::uint64_t count() const = 0;

 protected:
  Frames() = default;
  ~Frames() = default;
};

// Frames that are in use for a while, and can be had back.
class FrameReserve {
 public:
  // False: there are none.
  [[nodiscard]] virtual bool give_back() = 0;

 protected:
  FrameReserve() = default;
  ~FrameReserve() = default;
};

} // namespace guest::linux
