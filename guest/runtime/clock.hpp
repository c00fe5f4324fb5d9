// SPDX-License-Identifier: MIT
// Nanoseconds since this object was made, from the time stamp counter. Invariant TSC is assumed;
// every host this runs on has it.
#pragma once

#include <cstdint>

#include "guest/arch/cpu.hpp"
#include "guest/arch/vdso_clock.hpp"

namespace guest {

class Clock {
 public:
  // `tsc_khz` from BootInfo, not 0.
  explicit Clock(std::uint32_t tsc_khz)
      : start_(arch::rdtsc()), ns_per_tick_(fixed_point_per_ms / tsc_khz), tsc_khz_(tsc_khz) {}

  [[nodiscard]] std::uint64_t now_ns() const {
    // 128-bit: ticks times a 32-bit fraction overflows 64 bits after seconds.
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{arch::rdtsc() - start_} * ns_per_tick_) >>
                                      fraction_bits);
  }

  // For the vdso, which reads the same clock.
  [[nodiscard]] VdsoClock for_vdso(std::int64_t realtime_ns) const {
    return {.start_tsc = start_, .ns_per_tick = ns_per_tick_, .realtime_ns = realtime_ns};
  }

  // The TSC value at which now_ns() reaches `ns`.
  [[nodiscard]] std::uint64_t tsc_at(std::uint64_t ns) const {
    __extension__ using Wide = unsigned __int128;
    return start_ + static_cast<std::uint64_t>(Wide{ns} * tsc_khz_ / 1'000'000);
  }

 private:
  static constexpr unsigned fraction_bits = 32;
  static constexpr std::uint64_t fixed_point_per_ms = std::uint64_t{1'000'000} << fraction_bits;

  std::uint64_t start_;
  std::uint64_t ns_per_tick_; //  with fraction_bits fraction bits
  std::uint32_t tsc_khz_;
};

} // namespace guest
