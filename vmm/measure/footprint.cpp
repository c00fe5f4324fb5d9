// SPDX-License-Identifier: MIT
#include "vmm/measure/footprint.hpp"

#include <algorithm>
#include <cmath>

#include "vmm/base/units.hpp"

namespace vmm {
namespace {

constexpr double ns_per_s = 1e9;

// An integral of fewer points is none.
constexpr std::uint64_t fewest_points = 8;
constexpr double most_left_open = 0.05;

double mib_s(double byte_ns) {
  return byte_ns / ns_per_s / static_cast<double>(mib);
}

double trapezoid(std::uint64_t from, std::uint64_t to, std::uint64_t width_ns) {
  return (static_cast<double>(from) + static_cast<double>(to)) / 2 * static_cast<double>(width_ns);
}

std::uint64_t distance(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : b - a;
}

} // namespace

void FootprintIntegral::Integral::begin(std::optional<std::uint64_t> bytes) {
  *this = Integral();
  last_bytes_ = bytes;
  if (bytes) {
    peak_bytes_ = *bytes;
  }
}

void FootprintIntegral::Integral::add(std::optional<std::uint64_t> bytes, std::uint64_t width_ns) {
  if (!last_bytes_ || !bytes) {
    last_bytes_.reset();
    return;
  }
  byte_ns_ += trapezoid(*last_bytes_, *bytes, width_ns);
  const double open =
      static_cast<double>(distance(*last_bytes_, *bytes)) / 2 * static_cast<double>(width_ns);
  open_squared_ += open * open;
  peak_bytes_ = std::max(peak_bytes_, *bytes);
  last_bytes_ = bytes;
}

std::optional<double> FootprintIntegral::Integral::mib_s() const {
  return last_bytes_ ? std::optional(vmm::mib_s(byte_ns_)) : std::nullopt;
}

std::optional<std::uint64_t> FootprintIntegral::Integral::peak_bytes() const {
  return last_bytes_ ? std::optional(peak_bytes_) : std::nullopt;
}

bool FootprintIntegral::Integral::is_fine() const {
  return !last_bytes_ || std::sqrt(open_squared_) <= most_left_open * byte_ns_;
}

void FootprintIntegral::begin(const MemoryPoint& point) {
  *this = FootprintIntegral();
  running_ = true;
  begin_ns_ = point.at_ns;
  last_ns_ = point.at_ns;
  points_ = 1;
  live_high_before_bytes_ = point.live_high_bytes;
  live_high_bytes_ = point.live_high_bytes;
  resident_.begin(point.resident_bytes);
  live_.begin(point.live_bytes);
  unreported_.begin(point.ever_resident_bytes);
}

void FootprintIntegral::add(const MemoryPoint& point) {
  if (!running_) {
    return;
  }
  const std::uint64_t now_ns = std::max(point.at_ns, last_ns_);
  const std::uint64_t width_ns = now_ns - last_ns_;
  resident_.add(point.resident_bytes, width_ns);
  live_.add(point.live_bytes, width_ns);
  unreported_.add(point.ever_resident_bytes, width_ns);
  live_high_bytes_ = std::max(live_high_bytes_, point.live_high_bytes);
  last_ns_ = now_ns;
  ++points_;
}

void FootprintIntegral::end(const MemoryPoint& point) {
  add(point);
  running_ = false;
}

double FootprintIntegral::seconds() const {
  return static_cast<double>(last_ns_ - begin_ns_) / ns_per_s;
}

bool FootprintIntegral::is_fine() const {
  return points_ >= fewest_points && resident_.is_fine() && live_.is_fine() &&
         unreported_.is_fine();
}

std::uint64_t FootprintIntegral::live_peak_bytes() const {
  const auto seen = live_.peak_bytes();
  const std::uint64_t seen_bytes = seen ? *seen : 0; // nothing was measured
  return live_peak_told() ? std::max(seen_bytes, live_high_bytes_) : seen_bytes;
}

std::optional<std::uint64_t> settle_time_ns(std::span<const ResidencyPoint> points,
                                            std::uint64_t from_ns, std::uint64_t tolerance_bytes) {
  if (points.empty() || points.back().at_ns < from_ns) {
    return std::nullopt;
  }
  const std::uint64_t final_bytes = points.back().resident_bytes;
  std::uint64_t settled_ns = points.back().at_ns;
  for (std::size_t i = points.size(); i > 0; --i) {
    const ResidencyPoint& point = points[i - 1];
    if (point.at_ns < from_ns || distance(point.resident_bytes, final_bytes) > tolerance_bytes) {
      break;
    }
    settled_ns = point.at_ns;
  }
  return settled_ns - from_ns;
}

bool is_stable(std::span<const ResidencyPoint> points, std::size_t count,
               std::uint64_t spread_bytes) {
  if (count == 0 || points.size() < count) {
    return false;
  }
  const auto [least, most] =
      std::ranges::minmax_element(points.last(count), {}, &ResidencyPoint::resident_bytes);
  return most->resident_bytes - least->resident_bytes <= spread_bytes;
}

} // namespace vmm
