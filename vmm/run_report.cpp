// SPDX-License-Identifier: MIT
#include "vmm/run_report.hpp"

namespace vmm {

RunStats make_stats(const Config& config, const Machine& machine, const GuestEnding& ending) {
  constexpr double ns_per_us = 1e3;
  constexpr double ns_per_ms = 1e6;
  RunStats stats;
  stats.guest.exit_status = ending.process_status();
  const RunTimes& times = machine.times();
  if (times.workload_begin_ns != 0) {
    stats.guest.boot_us =
        static_cast<double>(times.workload_begin_ns - times.first_run_ns) / ns_per_us;
  }

  const MemorySample last = machine.sampler().latest();
  stats.workload.name = config.workload;
  stats.workload.events = last.guest.events;
  stats.workload.verified_pages = last.guest.verified_pages;
  stats.report = config.report;

  const HintTotals hints = machine.hint_totals();
  stats.hints.batches = hints.batches;
  stats.hints.ranges = hints.ranges;
  stats.hints.bytes = hints.bytes;
  stats.hints.discarded_bytes = hints.discarded_bytes;
  stats.hints.declined_bytes = hints.declined_bytes;
  stats.hints.failed_ranges = hints.failed_ranges;
  stats.hints.redundant_bytes = machine.guest_status().redundant_bytes;
  stats.hints.host_ns = hints.host_ns;
  stats.exits.total = machine.exits();
  stats.exits.doorbells = machine.doorbells();
  stats.exits.vmcalls = machine.vmcalls();

  stats.memory.guest_bytes = machine.memory().size_bytes();
  stats.memory.backing = name_of(config.backing);
  stats.take(machine.sampler().footprint());
  stats.memory.rss_final_bytes = last.resident_bytes;
  if (const auto& settled = machine.settled()) {
    stats.memory.rss_final_bytes = settled->resident_bytes;
    if (settled->after_ns) {
      stats.memory.settle_ms = static_cast<double>(*settled->after_ns) / ns_per_ms;
    }
  }
  return stats;
}

} // namespace vmm
