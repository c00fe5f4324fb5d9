// SPDX-License-Identifier: MIT
// The arithmetic of a run's memory over time: integrals of resident and live memory and the moment
// at which residency settled. Pure; instants are nanoseconds of one monotonic clock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace vmm {

// Memory at one moment.
struct MemoryPoint {
  std::uint64_t at_ns = 0;
  std::optional<std::uint64_t> resident_bytes{}; // empty: not known
  std::uint64_t live_bytes = 0;
  // What is resident or was at any time before: the model of a run that gives nothing back.
  std::optional<std::uint64_t> ever_resident_bytes{};
  // The most that was live at any time so far, by the guest's own account; 0: it does not tell.
  std::uint64_t live_high_bytes = 0;
};

// Integrates what was sampled with the trapezoid rule between begin() and end().
class FootprintIntegral {
 public:
  // Starts a new measured interval; what was measured before is forgotten.
  void begin(const MemoryPoint& point);
  // Ignored outside the interval. A clock that goes back counts as standing still.
  void add(const MemoryPoint& point);
  // Takes the last point and ends the interval. Ignored outside the interval.
  void end(const MemoryPoint& point);

  // Resident memory may have risen, is about to fall, and nobody looks at it: its peak is open.
  void miss_peak() { peak_missed_ = running_ || peak_missed_; }

  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] double seconds() const;
  [[nodiscard]] std::uint64_t begin_ns() const { return begin_ns_; }
  // How many points the interval has, its ends included.
  [[nodiscard]] std::uint64_t points() const { return points_; }
  // Whether there are points enough, at the right moments, to believe the integrals: from one
  // point to the next memory may have taken any way, which leaves half of the difference open for
  // that time. Taken as independent of each other these leave open at most a twentieth in all.
  [[nodiscard]] bool is_fine() const;

  // Integrals and resident peak are empty when the quantity was not known at each point, or
  // nothing was measured.
  [[nodiscard]] std::optional<double> resident_mib_s() const { return resident_.mib_s(); }
  [[nodiscard]] std::optional<double> live_mib_s() const { return live_.mib_s(); }
  [[nodiscard]] std::optional<double> unreported_mib_s() const { return unreported_.mib_s(); }
  [[nodiscard]] std::optional<std::uint64_t> resident_peak_bytes() const {
    return resident_.peak_bytes();
  }
  // Whether it is the true one: resident memory falls only where it is discarded, and there was a
  // point before each time.
  [[nodiscard]] bool resident_peak_seen() const { return points_ != 0 && !peak_missed_; }
  [[nodiscard]] std::uint64_t live_peak_bytes() const;
  // Whether the guest has told the peak, and not only points have shown a part of it.
  [[nodiscard]] bool live_peak_told() const { return live_high_bytes_ > live_high_before_bytes_; }

 private:
  class Integral {
   public:
    void begin(std::optional<std::uint64_t> bytes);
    void add(std::optional<std::uint64_t> bytes, std::uint64_t width_ns);
    [[nodiscard]] std::optional<double> mib_s() const;
    [[nodiscard]] std::optional<std::uint64_t> peak_bytes() const;
    [[nodiscard]] bool is_fine() const;

   private:
    std::optional<std::uint64_t> last_bytes_; // empty: not known, now or at any time before
    std::uint64_t peak_bytes_ = 0;
    double byte_ns_ = 0;
    double open_squared_ = 0; // what each step leaves open, squared
  };

  bool running_ = false;
  bool peak_missed_ = false;
  std::uint64_t begin_ns_ = 0;
  std::uint64_t last_ns_ = 0;
  std::uint64_t points_ = 0;
  std::uint64_t live_high_before_bytes_ = 0;
  std::uint64_t live_high_bytes_ = 0;
  Integral resident_;
  Integral live_;
  Integral unreported_;
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
