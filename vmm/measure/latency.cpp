// SPDX-License-Identifier: MIT
#include "vmm/measure/latency.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

namespace vmm {
namespace {

using abi::LatencyHistogram;

std::uint64_t sample_count(const LatencyHistogram& histogram) {
  return std::accumulate(std::begin(histogram.counts), std::end(histogram.counts),
                         std::uint64_t{0});
}

std::uint64_t longest_ns(std::size_t bucket) {
  return bucket + 1 < LatencyHistogram::buckets ? LatencyHistogram::lower_bound_ns(bucket + 1) - 1
                                                : LatencyHistogram::lower_bound_ns(bucket);
}

} // namespace

std::optional<std::uint64_t> percentile_ns(const LatencyHistogram& histogram, double fraction) {
  const std::uint64_t samples = sample_count(histogram);
  if (samples == 0) {
    return std::nullopt;
  }
  // Number of the wanted sample in ascending order, from 1.
  const double wanted =
      std::max(1.0, std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(samples)));
  std::uint64_t below = 0;
  std::size_t last = 0;
  for (std::size_t bucket = 0; bucket < LatencyHistogram::buckets; ++bucket) {
    if (histogram.counts[bucket] != 0) {
      below += histogram.counts[bucket];
      last = bucket;
      if (static_cast<double>(below) >= wanted) {
        break;
      }
    }
  }
  return longest_ns(last);
}

std::optional<LatencySummary> summarize(const LatencyHistogram& histogram) {
  const auto us = [&](double fraction) {
    return static_cast<double>(percentile_ns(histogram, fraction).value_or(0)) / 1e3;
  };
  const std::uint64_t samples = sample_count(histogram);
  if (samples == 0) {
    return std::nullopt;
  }
  LatencySummary summary{
      .samples = samples, .p50_us = us(0.5), .p99_us = us(0.99), .max_us = us(1), .buckets = {}};
  for (std::size_t bucket = 0; bucket < LatencyHistogram::buckets; ++bucket) {
    if (histogram.counts[bucket] != 0) {
      summary.buckets.push_back(
          {static_cast<double>(longest_ns(bucket)) / 1e3, histogram.counts[bucket]});
    }
  }
  return summary;
}

void merge(LatencyHistogram& into, const LatencyHistogram& from) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  for (std::size_t bucket = 0; bucket < LatencyHistogram::buckets; ++bucket) {
    const std::uint64_t sum = std::uint64_t{into.counts[bucket]} + from.counts[bucket];
    into.counts[bucket] = static_cast<std::uint32_t>(std::min(sum, most));
  }
}

} // namespace vmm
