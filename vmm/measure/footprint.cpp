// SPDX-License-Identifier: MIT
#include "vmm/measure/footprint.hpp"

#include <algorithm>

#include "vmm/base/units.hpp"

namespace vmm {
namespace {

constexpr double ns_per_s = 1e9;

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

void FootprintIntegral::begin(std::uint64_t now_ns, std::uint64_t resident_bytes,
                              std::uint64_t live_bytes) {
  *this = FootprintIntegral();
  running_ = true;
  begin_ns_ = now_ns;
  last_ = {now_ns, resident_bytes, live_bytes, live_bytes};
  resident_peak_bytes_ = resident_bytes;
  live_peak_bytes_ = live_bytes;
}

void FootprintIntegral::add(std::uint64_t now_ns, std::uint64_t resident_bytes,
                            std::uint64_t live_bytes) {
  if (!running_) {
    return;
  }
  resident_peak_bytes_ = std::max(resident_peak_bytes_, resident_bytes);
  live_peak_bytes_ = std::max(live_peak_bytes_, live_bytes);
  const Point point{std::max(now_ns, last_.at_ns), resident_bytes, live_bytes, live_peak_bytes_};
  const std::uint64_t width_ns = point.at_ns - last_.at_ns;
  resident_byte_ns_ += trapezoid(last_.resident_bytes, resident_bytes, width_ns);
  live_byte_ns_ += trapezoid(last_.live_bytes, live_bytes, width_ns);
  unreported_byte_ns_ += trapezoid(last_.live_peak_bytes, point.live_peak_bytes, width_ns);
  last_ = point;
}

void FootprintIntegral::end(std::uint64_t now_ns, std::uint64_t resident_bytes,
                            std::uint64_t live_bytes) {
  add(now_ns, resident_bytes, live_bytes);
  running_ = false;
}

double FootprintIntegral::seconds() const {
  return static_cast<double>(last_.at_ns - begin_ns_) / ns_per_s;
}

double FootprintIntegral::resident_mib_s() const {
  return mib_s(resident_byte_ns_);
}

double FootprintIntegral::live_mib_s() const {
  return mib_s(live_byte_ns_);
}

double FootprintIntegral::unreported_mib_s() const {
  return mib_s(unreported_byte_ns_);
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
