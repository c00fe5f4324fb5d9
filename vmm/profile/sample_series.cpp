// SPDX-License-Identifier: MIT
#include "vmm/profile/sample_series.hpp"

namespace vmm {

void SampleSeries::add(const TimedSample& sample) {
  if (!samples_.empty() && left_out_ == 0) {
    TimedSample& last = samples_.back();
    // A tick may come late by less than another.
    const std::uint64_t expected_ns = last.time_ns + sample.ticks * period_ns_;
    if (last.stack == sample.stack && sample.time_ns < expected_ns + period_ns_) {
      last.ticks += sample.ticks;
      last.time_ns = sample.time_ns;
      return;
    }
  }
  if (samples_.size() >= most_samples) {
    left_out_ += sample.ticks;
    return;
  }
  samples_.push_back(sample);
}

} // namespace vmm
