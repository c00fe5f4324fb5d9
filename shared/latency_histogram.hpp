// SPDX-License-Identifier: MIT
// A log-linear histogram of times: eight buckets an octave, so a percentile read from it is right
// to within an eighth. Fixed size, in shared memory; one writer, any number of readers.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace abi {

struct LatencyHistogram {
  static constexpr unsigned sub_bits = 3;
  static constexpr std::size_t buckets = 320; // up to 2^42 ns, 73 minutes; longer counts there

  std::uint32_t counts[buckets] = {};

  static constexpr std::size_t bucket_of(std::uint64_t ns) {
    if (ns < (1U << sub_bits)) {
      return static_cast<std::size_t>(ns);
    }
    const auto octave = static_cast<unsigned>(std::bit_width(ns)) - 1;
    const std::size_t bucket = (std::size_t{octave} - sub_bits + 1) * (1U << sub_bits) +
                               ((ns >> (octave - sub_bits)) & ((1U << sub_bits) - 1));
    return bucket < buckets ? bucket : buckets - 1;
  }
  // Smallest time that falls into the bucket.
  static constexpr std::uint64_t lower_bound_ns(std::size_t bucket) {
    const std::size_t octave = bucket >> sub_bits;
    const std::uint64_t sub = bucket & ((1U << sub_bits) - 1);
    return octave == 0 ? sub : (sub | (1U << sub_bits)) << (octave - 1);
  }

  void add(std::uint64_t ns) {
    std::uint32_t& count = counts[bucket_of(ns)];
    std::atomic_ref(count).store(count + 1, std::memory_order_relaxed);
  }
};
static_assert(sizeof(LatencyHistogram) == 1280);
static_assert(LatencyHistogram::bucket_of(7) == 7 && LatencyHistogram::bucket_of(8) == 8);
static_assert(LatencyHistogram::bucket_of(15) == 15 && LatencyHistogram::bucket_of(16) == 16);
static_assert(LatencyHistogram::lower_bound_ns(16) == 16);
static_assert(LatencyHistogram::bucket_of(LatencyHistogram::lower_bound_ns(100)) == 100);
static_assert(LatencyHistogram::bucket_of(~std::uint64_t{0}) == LatencyHistogram::buckets - 1);

} // namespace abi
