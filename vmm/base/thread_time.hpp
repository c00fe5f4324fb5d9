// SPDX-License-Identifier: MIT
// CPU time of the calling thread, a guest's time included: on a busy machine it says more of a cost
// than passed time.
#pragma once

#include <cstdint>
#include <ctime>

namespace vmm {

inline std::uint64_t thread_cpu_ns() {
  timespec now = {};
  // Cannot fail: the clock is always there.
  static_cast<void>(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now));
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace vmm
