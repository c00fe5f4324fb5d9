// SPDX-License-Identifier: MIT
// Memory over time in a bounded number of points: when it is full, every other point goes and from
// then on half as many are taken. The points that are left are evenly spread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vmm {

struct SeriesPoint {
  std::uint64_t at_ns = 0; // monotonic clock
  std::uint64_t resident_bytes = 0;
  std::uint64_t live_bytes = 0;
};

class MemorySeries {
 public:
  static constexpr std::size_t most_points = 512;

  // Forgets what was there.
  void begin() { *this = MemorySeries(); }

  void add(const SeriesPoint& point) {
    if (seen_++ % stride_ != 0) {
      return;
    }
    points_.push_back(point);
    if (points_.size() == most_points) {
      for (std::size_t index = 0; index < most_points / 2; ++index) {
        points_[index] = points_[2 * index];
      }
      points_.resize(most_points / 2);
      stride_ *= 2;
    }
  }

  // In order of time; the first is the first that was added.
  [[nodiscard]] std::span<const SeriesPoint> points() const { return points_; }

 private:
  std::vector<SeriesPoint> points_;
  std::uint64_t stride_ = 1; // every such point is kept
  std::uint64_t seen_ = 0;
};

} // namespace vmm
