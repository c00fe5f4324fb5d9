// SPDX-License-Identifier: MIT
#include "vmm/run_report.hpp"

#include "vmm/measure/latency.hpp"

namespace vmm {
namespace {

RunStats::Channel channel_stats(const PortTotals& port) {
  return {.batches = port.batches,
          .ranges = port.ranges,
          .bytes = port.bytes,
          .doorbells = port.doorbells,
          .doorbells_suppressed = port.doorbells_suppressed,
          .interrupts = port.interrupts,
          .max_batches = port.max_held,
          .latency = summarize(port.latency)};
}

// The host's side of asynchronous reporting, then the guest's own account of it.
void take_asynchronous(RunStats& stats, const HintTotals& hints, const abi::GuestStatus& guest) {
  stats.host.protocol_errors = hints.protocol_errors;
  stats.host.worker_sleeps = hints.worker_sleeps;
  stats.host.worker_naps = hints.worker_naps;
  stats.host.discard_calls = hints.discard_calls;
  stats.host.discard_retries = hints.discard_retries;
  stats.host.partial_discards = hints.partial_discards;
  stats.host.failed_discards = hints.failed_discards;
  for (const PortTotals& port : hints.channels) {
    stats.channels.push_back(channel_stats(port));
  }
  stats.wakeups = hints.interrupts;
  stats.doorbells_suppressed = hints.doorbells_suppressed;
  stats.faults = hints.faults;
  stats.late_discards = hints.late_discards;

  stats.inflight.max_bytes = guest.max_in_flight_bytes;
  stats.inflight.latency = summarize(guest.answer_latency);
  stats.oom.waits = guest.oom_waits;
  stats.oom.false_ones = guest.oom_failures;
  stats.oom.wait = summarize(guest.oom_wait);
  stats.quarantine.bytes = guest.quarantined_bytes;
  stats.quarantine.late_answers = guest.late_answers;
  stats.quarantine.ignored_answers = guest.ignored_answers;
}

void take_allocator(RunStats& stats, const abi::GuestStatus& guest) {
  constexpr std::uint64_t ns_per_us = 1000;
  for (const abi::VcpuCounters& vcpu : guest.vcpu) {
    stats.allocator.moved_bytes += vcpu.moved_frames << abi::page_shift;
    stats.allocator.spun_us += vcpu.spun_ns / ns_per_us;
    stats.allocator.zero_asked_bytes += vcpu.zero_asked_frames << abi::page_shift;
    stats.allocator.memset_skipped_bytes += vcpu.zero_known_frames << abi::page_shift;
  }
}

std::optional<Ledger> make_ledger(const Config& config, const Machine& machine,
                                  const RunStats& stats) {
  const Watch& watch = machine.watch();
  const auto uses = watch.order_uses();
  if (!watch.unit_costs() || !uses || watch.times().workload_end_ns == 0 ||
      !stats.memory.rss_mib_s || !stats.memory.unreported_mib_s) {
    return std::nullopt;
  }
  LedgerInput input{.saved_mib_s = *stats.memory.unreported_mib_s - *stats.memory.rss_mib_s,
                    .doorbells = stats.doorbells(),
                    // Passed time where CPU time was not measured.
                    .discard_ns = watch.discard_cpu_ns().value_or(stats.hints.host_ns),
                    .uses = *uses,
                    .units = *watch.unit_costs(),
                    .memory_price_ns = config.memory_price_ns};
  // The guest, or a host out of threads, fell back to another mode, whose doorbells cost otherwise.
  if (stats.host.mode != config.host) {
    input.units.doorbell_ns.reset();
  }
  return Ledger::make(input);
}

} // namespace

RunStats make_stats(const Config& config, const Machine& machine, const GuestEnding& ending) {
  constexpr double ns_per_us = 1e3;
  constexpr double ns_per_ms = 1e6;
  const Watch& watch = machine.watch();
  const abi::GuestStatus& guest = machine.guest().status();
  const ReportControlWriter& control = machine.hints().control();
  RunStats stats;
  stats.guest.exit_status = ending.process_status();
  const RunTimes& times = watch.times();
  if (times.workload_begin_ns != 0) {
    stats.guest.boot_us =
        static_cast<double>(times.workload_begin_ns - times.first_run_ns) / ns_per_us;
  }

  const MemorySample last = watch.sampler().latest();
  stats.workload.name = config.workload;
  stats.workload.events = last.guest.events;
  stats.workload.verified_pages = last.guest.verified_pages;
  if (const std::uint64_t behind_ns = guest.behind_ns; behind_ns != 0) {
    // 1 stands for 0, which says that there was no schedule.
    stats.workload.behind_ms = static_cast<double>(behind_ns - 1) / ns_per_ms;
  }
  stats.report = config.report;
  stats.report_timeout_ns = config.report_timeout_ns;
  stats.report_order_in_force = guest.report_order;
  const std::uint64_t half_life_ns = guest.half_life_ns;
  stats.report_half_life_ns =
      half_life_ns == abi::half_life_never ? std::nullopt : std::optional(half_life_ns);
  if (config.report_automatic) {
    stats.report_automatic = true;
    stats.report = control.settings().policy;
  }
  stats.report_changes = control.changes();
  stats.first_run_ns = times.first_run_ns;
  stats.vcpus = config.cpus;
  stats.host.mode = machine.hints().service().mode();
  stats.host.workers = stats.host.mode == HostMode::sync ? 0 : config.workers;

  const HintTotals hints = machine.hints().service().totals();
  stats.hints.batches = hints.batches;
  stats.hints.ranges = hints.ranges;
  stats.hints.bytes = hints.bytes;
  stats.hints.discarded_bytes = hints.discarded_bytes;
  stats.hints.declined_bytes = hints.declined_bytes;
  stats.hints.failed_ranges = hints.failed_ranges;
  stats.hints.redundant_bytes = guest.redundant_bytes;
  stats.hints.host_ns = hints.host_ns;
  take_asynchronous(stats, hints, guest);
  stats.oracle = watch.oracle_totals();
  if (config.trace && watch.trace() != nullptr && watch.trace()->has_begun()) {
    const TraceLoss loss = watch.trace()->loss();
    stats.trace = {.records = loss.kept_records,
                   .lost_records = loss.lost_records,
                   .lost_guest_events = watch.trace()->guest_events_lost(),
                   .why = loss.why};
  }
  take_allocator(stats, guest);
  const ExitTotals exits = machine.loops().exits();
  stats.exits.total = exits.exits;
  stats.exits.doorbells = exits.doorbells;
  stats.exits.vmcalls = exits.vmcalls;
  const PrefaultTotals prefaults = machine.loops().prefaults();
  stats.prefaults.calls = prefaults.calls;
  stats.prefaults.bytes = prefaults.bytes;

  stats.memory.guest_bytes = machine.guest().memory().size_bytes();
  stats.memory.backing = name_of(config.backing);
  stats.take(watch.sampler().footprint());
  stats.memory.rss_final_bytes = last.resident_bytes;
  if (const auto& settled = watch.settled()) {
    stats.memory.rss_final_bytes = settled->resident_bytes;
    if (settled->after_ns) {
      stats.memory.settle_ms = static_cast<double>(*settled->after_ns) / ns_per_ms;
    }
  }
  if (times.workload_end_ns != 0) {
    stats.memory.minor_faults = times.at_end.minor_faults - times.at_begin.minor_faults;
    stats.workload.cpu_seconds = times.at_end.cpu_seconds - times.at_begin.cpu_seconds;
  }
  const Sampler::Failures failures = watch.sampler().failures();
  stats.memory.failed_samples = failures.count;
  stats.memory.last_failure = failures.last;
  stats.series = watch.sampler().series();
  stats.ledger = make_ledger(config, machine, stats);
  return stats;
}

} // namespace vmm
