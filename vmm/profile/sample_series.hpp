// SPDX-License-Identifier: MIT
// Samples of one vCPU as they came: when it was seen where. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/profile/stack_counts.hpp"

namespace vmm {

// `ticks` samples that found the same, the last of them at `time_ns` of the monotonic clock and the
// others a period before one another.
struct TimedSample {
  std::uint64_t time_ns = 0;
  std::uint64_t ticks = 0;
  const Stack* stack = nullptr; // of the vCPU's StackCounts
};

class SampleSeries {
 public:
  // What comes later is not kept, only counted: 17 minutes at 1000 a second, if no two that follow
  // each other are the same.
  static constexpr std::size_t most_samples = std::size_t{1} << 20;

  explicit SampleSeries(std::uint64_t period_ns) : period_ns_(period_ns) {}

  void add(const TimedSample& sample);

  [[nodiscard]] std::span<const TimedSample> all() const { return samples_; }
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }

 private:
  std::uint64_t period_ns_;
  std::vector<TimedSample> samples_;
  std::uint64_t left_out_ = 0; // ticks
};

} // namespace vmm
