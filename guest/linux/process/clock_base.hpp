// SPDX-License-Identifier: MIT
// Which time a clock of Linux shows (clock_gettime(2)).
#pragma once

#include <cstdint>
#include <ctime>

#include "guest/linux/process/call.hpp"

namespace guest::linux {

enum class ClockBase : std::uint8_t {
  boot,  // since then
  epoch, // since 1970
  used,  // of the processor, by the process or one of its threads
  none,  // there is no such clock
};

// For the process of that number. Negative ones are those of a process or thread: its number's
// complement, and which clock.
[[nodiscard]] constexpr ClockBase clock_base(std::uint64_t clock, std::int64_t own_id) {
  constexpr std::uint64_t realtime_clocks =
      (1U << CLOCK_REALTIME) | (1U << CLOCK_REALTIME_COARSE) | (1U << CLOCK_TAI);
  constexpr std::uint64_t boot_clocks = (1U << CLOCK_MONOTONIC) | (1U << CLOCK_MONOTONIC_RAW) |
                                        (1U << CLOCK_MONOTONIC_COARSE) | (1U << CLOCK_BOOTTIME) |
                                        (1U << CLOCK_REALTIME_ALARM) | (1U << CLOCK_BOOTTIME_ALARM);
  const auto is_one_of = [clock](std::uint64_t clocks) {
    return clock < 64 && ((clocks >> clock) & 1) != 0;
  };
  if (is_one_of(boot_clocks)) {
    return ClockBase::boot;
  }
  if (is_one_of(realtime_clocks)) {
    return ClockBase::epoch;
  }
  const auto number = static_cast<std::int32_t>(clock);
  const std::int32_t process = ~(number >> 3);
  const bool own = number < 0 && (number & 3) != 3 && (process == 0 || process == own_id);
  return own || number == CLOCK_PROCESS_CPUTIME_ID || number == CLOCK_THREAD_CPUTIME_ID
             ? ClockBase::used
             : ClockBase::none;
}

} // namespace guest::linux
