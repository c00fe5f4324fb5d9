// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_totals.hpp"

namespace vmm {

void HintTotals::add(const BatchProcessor& processor) {
  const DiscardCounters& discard = processor.engine().counters();
  const BatchValidator& validator = processor.validator();
  ranges += validator.accepted_hints();
  failed_ranges += validator.rejected_ranges();
  bytes += discard.asked_bytes.value();
  discarded_bytes += discard.discarded_bytes.value();
  declined_bytes += discard.declined_bytes.value();
  span_extra_bytes += discard.span_extra_bytes.value();
  lazily_freed_bytes += discard.lazily_freed_bytes.value();
  discard_calls += discard.calls.value();
  discard_retries += discard.retries.value();
  partial_discards += discard.partial_calls.value();
  failed_discards += discard.failed_ranges.value();
  host_ns += discard.host_ns.value();
}

void HintTotals::add(const PortTotals& channel) {
  batches += channel.batches;
  protocol_errors += channel.protocol_errors;
  doorbells += channel.doorbells;
  doorbells_suppressed += channel.doorbells_suppressed;
  interrupts += channel.interrupts;
  channels.push_back(channel);
}

Json to_json(const HintTotals& totals) {
  return {{"batches", totals.batches},
          {"ranges", totals.ranges},
          {"bytes", totals.bytes},
          {"discarded_bytes", totals.discarded_bytes},
          {"declined_bytes", totals.declined_bytes},
          {"failed_ranges", totals.failed_ranges}};
}

} // namespace vmm
