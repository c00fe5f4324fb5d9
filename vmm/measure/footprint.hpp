// SPDX-License-Identifier: MIT
// The arithmetic of a run's memory over time: integrals of resident and live memory and the moment
// at which residency settled. Pure; instants are nanoseconds of one monotonic clock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace vmm {

// Integrates two step-sampled quantities with the trapezoid rule between begin() and end().
class FootprintIntegral {
 public:
  // Starts a new measured interval; what was measured before is forgotten.
  void begin(std::uint64_t now_ns, std::uint64_t resident_bytes, std::uint64_t live_bytes);
  // Ignored outside the interval. A clock that goes back counts as standing still.
  void add(std::uint64_t now_ns, std::uint64_t resident_bytes, std::uint64_t live_bytes);
  // Takes the last point and ends the interval. Ignored outside the interval.
  void end(std::uint64_t now_ns, std::uint64_t resident_bytes, std::uint64_t live_bytes);

  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] double seconds() const;
  [[nodiscard]] double resident_mib_s() const;
  [[nodiscard]] double live_mib_s() const;
  // A model of the same run without reporting: memory that was live once stays resident.
  [[nodiscard]] double unreported_mib_s() const;
  [[nodiscard]] std::uint64_t resident_peak_bytes() const { return resident_peak_bytes_; }
  [[nodiscard]] std::uint64_t live_peak_bytes() const { return live_peak_bytes_; }

 private:
  struct Point {
    std::uint64_t at_ns = 0;
    std::uint64_t resident_bytes = 0;
    std::uint64_t live_bytes = 0;
    std::uint64_t live_peak_bytes = 0; // up to here
  };

  bool running_ = false;
  std::uint64_t begin_ns_ = 0;
  Point last_;
  double resident_byte_ns_ = 0;
  double live_byte_ns_ = 0;
  double unreported_byte_ns_ = 0;
  std::uint64_t resident_peak_bytes_ = 0;
  std::uint64_t live_peak_bytes_ = 0;
};

struct ResidencyPoint {
  std::uint64_t at_ns = 0;
  std::uint64_t resident_bytes = 0;
};

// Time from `from_ns` to the first point at or after it from which on residency stays within
// `tolerance_bytes` of the last point's. Points are in order of time; those before `from_ns` do
// not count. Empty when no point is left.
std::optional<std::uint64_t> settle_time_ns(std::span<const ResidencyPoint> points,
                                            std::uint64_t from_ns, std::uint64_t tolerance_bytes);

// True when there are at least `count` points and the last `count` lie within `spread_bytes`.
bool is_stable(std::span<const ResidencyPoint> points, std::size_t count,
               std::uint64_t spread_bytes);

} // namespace vmm
