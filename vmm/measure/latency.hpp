// SPDX-License-Identifier: MIT
// Percentiles of abi::LatencyHistogram.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "shared/latency_histogram.hpp"

namespace vmm {

struct LatencyBucket {
  double us = 0; // longest time in it
  std::uint64_t samples = 0;
};

struct LatencySummary {
  std::uint64_t samples = 0;
  double p50_us = 0;
  double p99_us = 0;
  double max_us = 0;
  std::vector<LatencyBucket> buckets; // that have samples, shortest first
};

// The smallest bucket that at least `fraction` (0...1) of the samples lie in or below: its longest
// time, so never less than the truth and at most an eighth more. What is too long for the
// histogram counts as the least that is. Empty when there are no samples. `histogram` is a copy or
// at rest.
[[nodiscard]] std::optional<std::uint64_t> percentile_ns(const abi::LatencyHistogram& histogram,
                                                         double fraction);

// Empty when there are no samples.
[[nodiscard]] std::optional<LatencySummary> summarize(const abi::LatencyHistogram& histogram);

// Adds the samples of `from`; counts stop at their largest value instead of wrapping.
void merge(abi::LatencyHistogram& into, const abi::LatencyHistogram& from);

} // namespace vmm
