// SPDX-License-Identifier: MIT
// What the host's side of all channels has done, counted: sums, and each channel's own.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/base/json.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/fault_counters.hpp"
#include "vmm/hints/hint_port.hpp"

namespace vmm {

struct HintTotals {
  std::uint64_t batches = 0;
  std::uint64_t ranges = 0; // hints, without spans
  std::uint64_t bytes = 0;  // of accepted hints
  std::uint64_t discarded_bytes = 0;
  std::uint64_t declined_bytes = 0;
  std::uint64_t failed_ranges = 0; // not accepted, or answered so because the batch was bad
  std::uint64_t span_extra_bytes = 0;
  std::uint64_t lazily_freed_bytes = 0;
  std::uint64_t discard_calls = 0;
  std::uint64_t discard_retries = 0;  // of these: again, after EINTR or EAGAIN
  std::uint64_t partial_discards = 0; // vectored calls that did only a part
  std::uint64_t failed_discards = 0;  // accepted hints declined because the host's call failed
  std::uint64_t host_ns = 0;          // in the discarding system calls
  std::uint64_t protocol_errors = 0;  // ring overruns, bad or excess submissions, lost answers
  std::uint64_t doorbells = 0;        // that reached the host: exits, or wake-ups of a worker
  std::uint64_t doorbells_suppressed = 0;
  std::uint64_t interrupts = 0;
  std::uint64_t worker_sleeps = 0; // of polling workers
  std::uint64_t worker_naps = 0;   // after many doorbells for nothing
  FaultCounters faults;
  std::uint64_t late_discards = 0; // repeated discards of batches that are never answered
  std::vector<PortTotals> channels;

  void add(const BatchProcessor& processor);
  // Becomes the next of `channels`.
  void add(const PortTotals& channel);
};

// What was hinted and what became of it: the fields that statistics and the control socket begin
// with, each with its own behind them.
[[nodiscard]] Json to_json(const HintTotals& totals);

} // namespace vmm
