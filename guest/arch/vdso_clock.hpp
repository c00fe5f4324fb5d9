// SPDX-License-Identifier: MIT
// How a program reads the time without a call: from the time stamp counter.
#pragma once

#include <cstdint>

#include "guest/arch/vdso_clock.h"

namespace guest {

// At EBB_VDSO_CLOCK of the vdso.
struct VdsoClock {
  std::uint64_t start_tsc = 0;   // when the guest's clock began
  std::uint64_t ns_per_tick = 0; // with 32 fraction bits
  std::int64_t realtime_ns = 0;  // since 1970, UTC, at start_tsc
};

} // namespace guest
