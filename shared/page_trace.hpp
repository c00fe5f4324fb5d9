// SPDX-License-Identifier: MIT
// The file format of recordings, page traces: the recorded page allocations and frees of real
// programs. Little endian: a header, then one 64-bit word per event. Ids are given in the order of
// allocation; a block is allocated once and freed at most once, with the order it was allocated
// with. The host has checked all of this (vmm/boot/recording_check.hpp) before a guest sees a
// recording.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"

namespace abi {

inline constexpr std::uint64_t page_trace_magic = 0x3145434152544750; // "PGTRACE1"

struct PageTraceHeader {
  std::uint64_t magic = page_trace_magic;
  std::uint32_t events = 0;
  std::uint32_t peak_pages = 0; // of 4 KiB, as the recorder counted
};
static_assert(sizeof(PageTraceHeader) == 16);
static_assert(offsetof(PageTraceHeader, events) == 8);
static_assert(offsetof(PageTraceHeader, peak_pages) == 12);

// Bits 0...31 block id, 32...55 microseconds since the previous event, 56...62 order, 63 free.
struct PageTraceEvent {
  std::uint64_t bits = 0;

  // The pause saturates at this value.
  static constexpr std::uint32_t max_delta_us = (1U << 24) - 1;

  [[nodiscard]] constexpr bool is_free() const { return (bits >> 63) != 0; }
  // 0...127 as recorded; at most max_order in a trace that the host has accepted.
  [[nodiscard]] constexpr Order order() const {
    return {static_cast<std::uint8_t>((bits >> 56) & 0x7f)};
  }
  [[nodiscard]] constexpr std::uint32_t delta_us() const {
    return static_cast<std::uint32_t>((bits >> 32) & max_delta_us);
  }
  [[nodiscard]] constexpr std::uint32_t block_id() const {
    return static_cast<std::uint32_t>(bits);
  }
};
static_assert(sizeof(PageTraceEvent) == 8);

} // namespace abi
