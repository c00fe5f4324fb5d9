// SPDX-License-Identifier: MIT
// What a trace amounts to: latencies, batch fill, bytes by order, who freed. Memory does not grow
// with the trace.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "shared/latency_histogram.hpp"
#include "shared/report_channel.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

// Times in ns.
struct Distribution {
  abi::LatencyHistogram histogram;
  std::uint64_t count = 0, sum = 0;

  void add(std::uint64_t ns);
  // As the vmm's statistics have them (vmm::percentile_ns): at most an eighth more than the truth,
  // never less. 100 is the longest. 0 when there are no samples.
  [[nodiscard]] std::uint64_t percentile(unsigned percent) const;
};

// How many ranges batches have, exactly.
struct BatchFill {
  std::array<std::uint64_t, abi::max_batch_ranges + 1> batches{}; // by ranges; more count as most
  std::uint64_t count = 0, sum = 0;

  void add(std::uint64_t ranges);
  [[nodiscard]] std::uint64_t percentile(unsigned percent) const;
};

struct OrderTotals {
  std::uint64_t ranges = 0, discarded_bytes = 0, declined_bytes = 0, failed_ranges = 0;
  std::uint64_t reused_blocks = 0; // allocations that took reported memory
};

struct SiteTotals {
  std::uint64_t batches = 0, ranges = 0, bytes = 0, frees = 0;
};

struct Totals {
  std::uint64_t records = 0, duration_ns = 0, missing = 0;
  std::array<std::uint64_t, 256> events{};
  Distribution answer, drain, host, discard; // ns; the first two since the submission
  BatchFill fill;
  std::array<OrderTotals, 16> orders{};
  std::map<std::uint64_t, SiteTotals> sites; // by code address; what is beyond the cap is under 0
  std::uint64_t refault_bytes = 0, guest_lost = 0;
  std::uint64_t peak_resident_bytes = 0, final_resident_bytes = 0;

  [[nodiscard]] std::uint64_t of(abi::TraceEvent event) const {
    return events[static_cast<std::uint8_t>(event)];
  }
  [[nodiscard]] std::uint64_t hinted_bytes() const;
  [[nodiscard]] std::uint64_t discarded_bytes() const;
};

[[nodiscard]] Totals total(const TraceSource& source);
// `top` call sites at most. `symbols` may be empty.
[[nodiscard]] std::string render_stats(const TraceSource& source, const Totals& totals,
                                       const vmm::Symbols& symbols, std::size_t top);

} // namespace hvtrace
