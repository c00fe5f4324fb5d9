// SPDX-License-Identifier: MIT
#include "vmm/run_report.hpp"

namespace vmm {
namespace {

std::optional<RunStats::Trace> make_trace_stats(const Config& config, const Watch& watch) {
  const TraceRecorder* const trace = watch.trace();
  const bool only_for_stepper = config.step && !config.trace;
  if (trace == nullptr || !trace->has_begun() || only_for_stepper) {
    return std::nullopt;
  }
  return RunStats::Trace{.name = watch.trace_switch()->name(),
                         .records = trace->loss(),
                         .lost_guest_events = trace->guest_events_lost()};
}

std::optional<Ledger> make_ledger(const Config& config, const Watch& watch, const RunStats& stats) {
  const auto uses = watch.order_uses();
  if (!watch.unit_costs() || !uses || watch.times().workload_end_ns == 0 ||
      !stats.memory.rss_mib_s || !stats.memory.unreported_mib_s) {
    return std::nullopt;
  }
  LedgerInput input{.saved_mib_s = *stats.memory.unreported_mib_s - *stats.memory.rss_mib_s,
                    .doorbells = stats.hints.doorbells,
                    // Passed time where CPU time was not measured.
                    .discard_ns = watch.discard_cpu_ns().value_or(stats.hints.host_ns),
                    .uses = *uses,
                    .units = *watch.unit_costs(),
                    .memory_price_ns = watch.memory_price_ns()};
  // The guest, or a host out of threads, fell back to another mode, whose doorbells cost otherwise.
  if (stats.host_mode != config.host) {
    input.units.doorbell_ns.reset();
  }
  return Ledger::make(input);
}

} // namespace

RunStats stats_now(const Config& config, const Machine& machine) {
  const Watch& watch = machine.watch();
  const HintService& service = machine.hints().service();
  const ReportControlWriter& control = machine.hints().control();
  RunStats stats;
  stats.times = watch.times();
  stats.workload = config.name_of_run();
  stats.vcpus = config.cpus;
  stats.host_mode = service.mode();
  stats.workers = stats.host_mode == HostMode::sync ? 0 : config.workers;
  stats.hints = service.totals();
  stats.exits = machine.loops().exits();
  stats.prefaults = machine.loops().prefaults();
  stats.report = control.settings();
  stats.report_changes = control.changes();
  if (config.pressure != PressureUse::off) {
    const PressureTotals pressure = control.pressure();
    stats.pressure = {pressure.times, pressure.ns, pressure.now};
  }
  stats.guest = read_guest_status(machine.guest().status());
  stats.memory.guest_bytes = machine.guest().memory().size_bytes();
  stats.memory.backing = name_of(config.backing);
  stats.memory.take(watch.sampler().footprint());
  stats.last = watch.sampler().latest();
  stats.failures = watch.sampler().failures();
  return stats;
}

RunStats make_stats(const Config& config, const Machine& machine, const GuestEnding& ending) {
  const Watch& watch = machine.watch();
  RunStats stats = stats_now(config, machine);
  stats.exit_status = ending.process_status();
  if (const abi::ProgramStart* const program = machine.guest().program()) {
    stats.program = program_calls(*program);
  }
  stats.report = {config.report_automatic ? stats.report.policy : config.report,
                  config.report_timeout_ns, config.report_automatic};
  stats.settled = watch.settled().value_or(Settled{.resident_bytes = stats.last.resident_bytes});
  stats.series = watch.sampler().series();
  stats.oracle = watch.oracle_totals();
  stats.trace = make_trace_stats(config, watch);
  stats.ledger = make_ledger(config, watch, stats);
  return stats;
}

} // namespace vmm
