// SPDX-License-Identifier: MIT
// A range of frames that lies below the end of RAM but is none: room for devices.
#pragma once

#include <cstdint>

#include "shared/address.hpp"

namespace guest::mm {

// [start, end); empty by default.
struct FrameHole {
  abi::Pfn start;
  abi::Pfn end;

  [[nodiscard]] constexpr bool empty() const { return start >= end; }
  [[nodiscard]] constexpr bool contains(abi::Pfn pfn) const { return pfn >= start && pfn < end; }

  // The same grown to multiples of `frames`, a power of two.
  [[nodiscard]] constexpr FrameHole aligned_outwards(std::uint64_t frames) const {
    return empty() ? FrameHole{}
                   : FrameHole{.start = {abi::align_down(start.value, frames)},
                               .end = {abi::align_up(end.value, frames)}};
  }

  // Where the next of the units of `unit_frames` that begin at `next` has RAM: skips those that lie
  // wholly inside.
  [[nodiscard]] constexpr abi::Pfn skip_units(abi::Pfn next, std::uint64_t unit_frames) const {
    return contains(next) ? next + (end - next) / unit_frames * unit_frames : next;
  }
};

} // namespace guest::mm
