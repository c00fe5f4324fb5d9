// SPDX-License-Identifier: MIT
#include "vmm/measure/latency.hpp"

#include <limits>

#include <doctest/doctest.h>

using abi::LatencyHistogram;
using vmm::percentile_ns;

TEST_CASE("no samples have no percentile") {
  const LatencyHistogram none;
  CHECK_FALSE(percentile_ns(none, 0.5).has_value());
  CHECK_FALSE(vmm::summarize(none).has_value());
}

TEST_CASE("short times are exact, long ones at most an eighth too much") {
  for (const std::uint64_t ns : {0ULL, 1ULL, 7ULL, 8ULL, 15ULL, 16ULL, 1000ULL, 123'456'789ULL}) {
    CAPTURE(ns);
    LatencyHistogram histogram;
    histogram.add(ns);
    const auto found = percentile_ns(histogram, 0.5);
    REQUIRE(found.has_value());
    CHECK(*found >= ns);
    CHECK(*found <= ns + ns / 8);
    CHECK(percentile_ns(histogram, 0) == found);
    CHECK(percentile_ns(histogram, 1) == found);
  }
}

TEST_CASE("the percentile is that of the sample with this rank") {
  LatencyHistogram histogram;
  for (unsigned sample = 0; sample < 99; ++sample) {
    histogram.add(3);
  }
  histogram.add(7);
  CHECK(percentile_ns(histogram, 0.5) == 3U);
  CHECK(percentile_ns(histogram, 0.99) == 3U);
  CHECK(percentile_ns(histogram, 0.991) == 7U);
  CHECK(percentile_ns(histogram, 1) == 7U);
  CHECK(percentile_ns(histogram, -1) == 3U);
  CHECK(percentile_ns(histogram, 2) == 7U);
}

TEST_CASE("what is too long for the histogram does not overflow") {
  LatencyHistogram histogram;
  histogram.add(std::numeric_limits<std::uint64_t>::max());
  CHECK(percentile_ns(histogram, 1) ==
        LatencyHistogram::lower_bound_ns(LatencyHistogram::buckets - 1));
}

TEST_CASE("counts at their limit, as a hostile guest may write them") {
  LatencyHistogram histogram;
  for (std::uint32_t& count : histogram.counts) {
    count = std::numeric_limits<std::uint32_t>::max();
  }
  const auto summary = vmm::summarize(histogram);
  REQUIRE(summary.has_value());
  CHECK(summary->samples == std::uint64_t{4294967295} * LatencyHistogram::buckets);
  CHECK(summary->p50_us <= summary->p99_us);
  CHECK(summary->p99_us <= summary->max_us);
  vmm::merge(histogram, histogram);
  CHECK(histogram.counts[0] == 4294967295U);
}

TEST_CASE("a summary is in microseconds") {
  LatencyHistogram histogram;
  histogram.add(4);
  const auto summary = vmm::summarize(histogram);
  REQUIRE(summary.has_value());
  CHECK(summary->samples == 1);
  CHECK(summary->p50_us == doctest::Approx(0.004));
  CHECK(summary->max_us == doctest::Approx(0.004));
}
