// SPDX-License-Identifier: MIT
// Memory over time in a bounded number of points: when it is full, every other point goes and from
// then on half as many are taken. The points that are left are evenly spread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/measure/footprint.hpp"

namespace vmm {

class MemorySeries {
 public:
  static constexpr std::size_t most_points = 512;

  // Forgets what was there.
  void begin() { *this = MemorySeries(); }

  void add(const MemoryPoint& point) {
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
  [[nodiscard]] std::span<const MemoryPoint> points() const { return points_; }

 private:
  std::vector<MemoryPoint> points_;
  std::uint64_t stride_ = 1; // every such point is kept
  std::uint64_t seen_ = 0;
};

} // namespace vmm
