// SPDX-License-Identifier: MIT
#include "vmm/report/stats.hpp"

#include <string_view>

#include "vmm/base/units.hpp"
#include "vmm/base/version.hpp"
#include "vmm/measure/latency.hpp"
#include "vmm/settings/report_settings.hpp"

namespace vmm {
namespace {

constexpr double ns_per_us = 1e3;
constexpr double ns_per_ms = 1e6;

std::optional<double> ratio(std::optional<double> numerator, std::optional<double> denominator) {
  return numerator && denominator && *denominator > 0 ? std::optional(*numerator / *denominator)
                                                      : std::nullopt;
}

// What lies behind an optional, as null without one.
template <typename Value, typename Number>
std::optional<Number> part(const std::optional<Value>& whole, Number Value::*member) {
  return whole ? std::optional((*whole).*member) : std::nullopt;
}

std::optional<double> in(std::optional<std::uint64_t> ns, double ns_per_unit) {
  return ns ? std::optional(static_cast<double>(*ns) / ns_per_unit) : std::nullopt;
}

Json to_json(const abi::LatencyHistogram& latency) {
  const std::optional<LatencySummary> summary = summarize(latency);
  Json histogram = Json::array();
  if (summary) {
    for (const LatencyBucket& bucket : summary->buckets) {
      histogram.push_back(Json::array({bucket.us, bucket.samples}));
    }
  }
  return {{"histogram", std::move(histogram)},
          {"samples", summary ? summary->samples : 0},
          {"p50", part(summary, &LatencySummary::p50_us)},
          {"p99", part(summary, &LatencySummary::p99_us)},
          {"max", part(summary, &LatencySummary::max_us)}};
}

Json to_json(const FaultCounters& faults) {
  return {{"delayed", faults.delayed},     {"dropped", faults.dropped},
          {"stalled", faults.stalled},     {"duplicated", faults.duplicated},
          {"reordered", faults.reordered}, {"declined", faults.declined},
          {"failed", faults.failed},       {"partial_ranges", faults.partial_ranges}};
}

Json to_json(const PortTotals& channel) {
  return {{"batches", channel.batches},
          {"ranges", channel.ranges},
          {"bytes", channel.bytes},
          {"doorbells", channel.doorbells},
          {"doorbells_suppressed", channel.doorbells_suppressed},
          {"interrupts", channel.interrupts},
          {"max_batches", channel.max_held},
          {"host_latency_us", to_json(channel.latency)}};
}

Json to_json(const AllocatorTotals& allocator) {
  return {{"moved_bytes", allocator.moved_bytes},
          {"spun_us", allocator.spun_us},
          {"zero_asked_bytes", allocator.zero_asked_bytes},
          {"memset_skipped_bytes", allocator.memset_skipped_bytes}};
}

Json to_json(const ExitTotals& exits) {
  return {{"total", exits.exits}, {"doorbells", exits.doorbells}, {"vmcalls", exits.vmcalls}};
}

Json to_json(const PrefaultTotals& prefaults) {
  return {{"calls", prefaults.calls}, {"bytes", prefaults.bytes}};
}

Json to_json(const OracleTotals& oracle) {
  return {{"guarded_bytes", oracle.guarded_bytes},
          {"unguarded_ranges", oracle.unguarded_ranges},
          {"touched_bytes", oracle.touched_bytes},
          {"scans", oracle.scans}};
}

Json to_json(const RunStats::Trace& trace) {
  Json json = {{"complete", trace.complete()},
               {"records", trace.records.kept_records},
               {"lost_records", trace.records.lost_records},
               {"lost_guest_events", trace.lost_guest_events}};
  if (!trace.records.why.empty()) {
    json["why"] = trace.records.why;
  }
  return json;
}

// Who answers, and how discarding went.
Json host_json(const RunStats& stats) {
  const HintTotals& hints = stats.hints;
  return {{"mode", name_of(stats.host_mode)},         {"workers", stats.workers},
          {"protocol_errors", hints.protocol_errors}, {"worker_sleeps", hints.worker_sleeps},
          {"worker_naps", hints.worker_naps},         {"discard_calls", hints.discard_calls},
          {"discard_retries", hints.discard_retries}, {"partial_discards", hints.partial_discards},
          {"failed_discards", hints.failed_discards}};
}

Json hints_json(const RunStats& stats) {
  Json json = to_json(stats.hints);
  json["redundant_bytes"] = stats.guest.redundant_bytes;
  json["host_ns"] = stats.hints.host_ns;
  json["doorbells"] = stats.hints.doorbells;
  return json;
}

// What becomes of batches between submission and answer, as host and guest see it.
void add_asynchronous(Json& json, const RunStats& stats) {
  const HintTotals& hints = stats.hints;
  const abi::GuestStatus& guest = stats.guest;
  Json& channels = json["channels"] = Json::array();
  for (const PortTotals& channel : hints.channels) {
    channels.push_back(to_json(channel));
  }
  json["inflight"] = {{"max_bytes", guest.max_in_flight_bytes},
                      {"latency_us", to_json(guest.answer_latency)}};
  json["oom"] = {{"waits", guest.oom_waits},
                 {"false", guest.oom_failures},
                 {"wait_us", to_json(guest.oom_wait)}};
  json["allocator"] = to_json(AllocatorTotals::of(guest));
  json["quarantine"] = {{"bytes", guest.quarantined_bytes},
                        {"late_answers", guest.late_answers},
                        {"ignored_answers", guest.ignored_answers}};
  json["wakeups"] = hints.interrupts;
  json["doorbells_suppressed"] = hints.doorbells_suppressed;
  json["faults"] = to_json(hints.faults);
  json["faults"]["late_discards"] = hints.late_discards;
}

Json to_json(const std::optional<Spending>& spent) {
  if (!spent) {
    return nullptr;
  }
  return {{"discard_ns", spent->discard_ns},
          {"doorbell_ns", spent->doorbell_ns},
          {"refault_ns", spent->refault_ns},
          {"sum_ns", spent->sum_ns()}};
}

Json to_json(const Ledger& ledger) {
  Json orders = Json::array();
  for (std::size_t order = 0; order < ledger.orders.size(); ++order) {
    const Ledger::Row& row = ledger.orders[order];
    if (row.use.ranges != 0) {
      orders.push_back({{"order", order},
                        {"ranges", row.use.ranges},
                        {"discarded_bytes", row.use.discarded_bytes},
                        {"reused_bytes", row.use.reused_bytes},
                        {"away_mib_s", row.use.away_mib_s},
                        {"spent", to_json(row.spent)},
                        {"net_mib_s", row.net_mib_s}});
    }
  }
  return {{"saved_mib_s", ledger.saved_mib_s},
          {"reused_bytes", ledger.reused_bytes},
          {"reuse", "measured"},
          {"unit_ns",
           {{"doorbell", ledger.units.doorbell_ns},
            {"page_fault", ledger.units.page_fault_ns},
            {"huge_page_fault", ledger.units.huge_page_fault_ns}}},
          {"memory_price_ns", ledger.memory_price_ns},
          {"spent", to_json(ledger.spent)},
          {"net_mib_s", ledger.net_mib_s},
          {"orders", std::move(orders)}};
}

// Lists of equal length: a tenth of the text of objects.
Json to_json(const MemorySeries& series) {
  constexpr std::uint64_t ns_per_whole_ms = 1'000'000;
  Json at_ms = Json::array();
  Json resident = Json::array();
  Json live = Json::array();
  const auto points = series.points();
  for (const MemoryPoint& point : points) {
    at_ms.push_back((point.at_ns - points.front().at_ns) / ns_per_whole_ms);
    resident.push_back(point.resident_bytes ? Json(*point.resident_bytes / kib) : Json(nullptr));
    live.push_back(point.live_bytes / kib);
  }
  return {{"at_ms", std::move(at_ms)},
          {"resident_kib", std::move(resident)},
          {"live_kib", std::move(live)}};
}

// Times are since the guest began to run.
Json to_json(const ReportChanges& changes, std::uint64_t first_run_ns) {
  Json last = Json::array();
  for (const ReportChange& change : changes.last) {
    const std::uint64_t since_ns = change.at_ns > first_run_ns ? change.at_ns - first_run_ns : 0;
    Json told = to_json(change.settings);
    told["at_ms"] = static_cast<double>(since_ns) / ns_per_ms;
    last.push_back(std::move(told));
  }
  return {{"count", changes.count}, {"last", std::move(last)}};
}

Json report_json(const RunStats& stats) {
  Json report = to_json(stats.report);
  report["order_in_force"] = stats.guest.report_order;
  report["half_life_ns"] = stats.half_life_ns();
  report["changes"] = to_json(stats.report_changes, stats.times.first_run_ns);
  return report;
}

Json workload_json(const RunStats& stats) {
  return {{"name", stats.workload},
          {"seconds", stats.memory.seconds},
          {"cpu_seconds", stats.times.used().cpu_seconds},
          {"events", stats.last.guest.events},
          {"verified_pages", stats.last.guest.verified_pages},
          {"behind_ms", in(stats.behind_ns(), ns_per_ms)}};
}

Json memory_json(const RunStats& stats) {
  const RunStats::Memory& memory = stats.memory;
  const Sampler::Failures& failures = stats.failures;
  return {{"guest_bytes", memory.guest_bytes},
          {"backing", memory.backing},
          {"rss_peak_bytes", memory.rss_peak_bytes},
          {"rss_final_bytes", stats.settled.resident_bytes},
          {"live_peak_bytes", memory.live_peak_bytes},
          {"settle_ms", in(stats.settled.after_ns, ns_per_ms)},
          {"rss_mib_s", memory.rss_mib_s},
          {"live_mib_s", memory.live_mib_s},
          {"footprint_ratio", memory.footprint_ratio()},
          {"unreported_mib_s", memory.unreported_mib_s},
          {"unreported_footprint_ratio", memory.unreported_ratio()},
          {"minor_faults", stats.times.used().minor_faults},
          {"missing", memory.missing.empty() ? Json(nullptr) : Json(memory.missing)},
          {"failed_samples", failures.count},
          {"last_failure", failures.count != 0 ? Json(failures.last) : Json(nullptr)}};
}

// By name, in that order; null when there are none.
Json count_of(const std::vector<ProgramCalls::Call>& calls) {
  Json counts;
  for (const ProgramCalls::Call& call : calls) {
    counts[call.name] = call.times;
  }
  return counts;
}

} // namespace

std::optional<std::uint64_t> RunStats::half_life_ns() const {
  return guest.half_life_ns == abi::half_life_never ? std::nullopt
                                                    : std::optional(guest.half_life_ns);
}

// 1 stands for 0, which says that there was no schedule.
std::optional<std::uint64_t> RunStats::behind_ns() const {
  return guest.behind_ns != 0 ? std::optional(guest.behind_ns - 1) : std::nullopt;
}

AllocatorTotals AllocatorTotals::of(const abi::GuestStatus& guest) {
  constexpr std::uint64_t ns_per_microsecond = 1000;
  AllocatorTotals totals;
  for (const abi::VcpuCounters& vcpu : guest.vcpu) {
    totals.moved_bytes += vcpu.moved_frames << abi::page_shift;
    totals.spun_us += vcpu.spun_ns / ns_per_microsecond;
    totals.zero_asked_bytes += vcpu.zero_asked_frames << abi::page_shift;
    totals.memset_skipped_bytes += vcpu.zero_known_frames << abi::page_shift;
  }
  return totals;
}

std::optional<double> RunStats::Memory::footprint_ratio() const {
  return ratio(rss_mib_s, live_mib_s);
}

std::optional<double> RunStats::Memory::unreported_ratio() const {
  return ratio(unreported_mib_s, live_mib_s);
}

void RunStats::Memory::take(const FootprintIntegral& footprint) {
  seconds = footprint.seconds();
  const bool fine = footprint.is_fine();
  if (fine) {
    rss_mib_s = footprint.resident_mib_s();
    live_mib_s = footprint.live_mib_s();
    unreported_mib_s = footprint.unreported_mib_s();
  }
  if (fine || footprint.resident_peak_seen()) {
    rss_peak_bytes = footprint.resident_peak_bytes();
  }
  if (fine || footprint.live_peak_told()) {
    live_peak_bytes = footprint.live_peak_bytes();
  }
  if (footprint.points() == 0) {
    missing = "the workload never began";
  } else if (!fine) {
    missing = fmt::format("{} samples in {} are too few to tell", footprint.points(),
                          human_duration(footprint.seconds()));
  } else if (!rss_mib_s) {
    missing = "this host does not tell how much memory is resident";
  } else if (!unreported_mib_s) {
    missing = "the model without reporting needs PAGEMAP_SCAN (Linux 6.7)";
  }
}

Json to_json(const RunStats& stats) {
  Json json;
  json["version"] = version;
  json["guest"] = {{"exit_status", stats.exit_status},
                   {"boot_us", in(stats.times.boot_ns(), ns_per_us)}};
  json["workload"] = workload_json(stats);
  json["report"] = report_json(stats);
  json["vcpus"] = stats.vcpus;
  json["host"] = host_json(stats);
  json["hints"] = hints_json(stats);
  add_asynchronous(json, stats);
  if (stats.pressure) {
    json["pressure"] = {{"times", stats.pressure->times}, {"ns", stats.pressure->ns}};
  }
  if (stats.trace) {
    json["trace"] = to_json(*stats.trace);
  }
  if (stats.program) {
    json["program"] = {{"calls", count_of(stats.program->made)},
                       {"missing", count_of(stats.program->missing)},
                       {"left", stats.program->left},
                       {"by_instruction", stats.program->by_instruction}};
  }
  if (stats.oracle) {
    json["oracle"] = to_json(*stats.oracle);
  }
  json["exits"] = to_json(stats.exits);
  json["prefaults"] = to_json(stats.prefaults);
  json["memory"] = memory_json(stats);
  json["ledger"] = stats.ledger ? to_json(*stats.ledger) : Json(nullptr);
  json["series"] = to_json(stats.series);
  return json;
}

std::string to_text(const Json& json) {
  return json.lines(2);
}

} // namespace vmm
