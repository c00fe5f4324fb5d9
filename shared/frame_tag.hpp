// SPDX-License-Identifier: MIT
// The frame tag: the one byte of metadata that the guest's allocator keeps per 4 KiB frame. It is
// part of the ABI so that a host in debug mode can check a hint against the allocator's own state
// (GuestHello::tags_gpa), and so that later hosts can read allocator state directly.
//
//   bits 0...3  order of the block or part that starts at this frame
//   bits 4...6  FrameKind of that block or part
//   bit  7      audit bit: this frame has been allocated since the host last answered for it
//
// Only the tag at a block's (or part's) first frame has a meaning in bits 0...6; inside a block
// they are stale. Zero is the state of memory that was never handed out.
#pragma once

#include <cstdint>

#include "shared/address.hpp"

namespace abi {

enum class FrameKind : std::uint8_t {
  none = 0,      // never handed out
  allocated = 1, // first frame of a block that somebody owns
  cached = 2,    // first frame of a block in a per-vCPU page cache
  fresh = 3,     // first frame of a free part that was allocated since the last answer
  reported = 4,  // first frame of a free part that the host discarded: reads as zero
  declined = 5,  // first frame of a free part that the host answered without discarding
  isolated = 6,  // first frame of a free part that is submitted and not yet answered
  // Since 1.1: as allocated, and the owner lets it be moved.
  movable = 7,
};

struct FrameTag {
  std::uint8_t bits = 0;

  static constexpr std::uint8_t audit_bit = 0x80;
  static constexpr std::uint8_t order_bits = 0x0f;

  static constexpr FrameTag make(FrameKind kind, Order order) {
    return {static_cast<std::uint8_t>(order.value | (static_cast<unsigned>(kind) << 4))};
  }
  [[nodiscard]] constexpr Order order() const {
    return {static_cast<std::uint8_t>(bits & order_bits)};
  }
  [[nodiscard]] constexpr FrameKind kind() const {
    return static_cast<FrameKind>((bits >> 4) & 0x7U);
  }
  [[nodiscard]] constexpr bool audit() const { return (bits & audit_bit) != 0; }
};
static_assert(sizeof(FrameTag) == 1);

} // namespace abi
