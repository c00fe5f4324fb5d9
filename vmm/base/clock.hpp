// SPDX-License-Identifier: MIT
// The host's clocks, in nanoseconds.
#pragma once

#include <cstdint>

namespace vmm {

// CLOCK_MONOTONIC: every instant in statistics and traces is one of this clock.
[[nodiscard]] std::uint64_t monotonic_ns();

// Blocks the caller that long.
void monotonic_wait_ns(std::uint64_t duration_ns);

// CPU time of the calling thread, a guest's time included: on a busy machine it says more of a cost
// than passed time.
[[nodiscard]] std::uint64_t thread_cpu_ns();

} // namespace vmm
