// SPDX-License-Identifier: MIT
#include "vmm/report/stats.hpp"

#include <string_view>

#include "vmm/base/units.hpp"
#include "vmm/base/version.hpp"
#include "vmm/settings/report_settings.hpp"

namespace vmm {
namespace {

std::optional<double> ratio(std::optional<double> numerator, std::optional<double> denominator) {
  return numerator && denominator && *denominator > 0 ? std::optional(*numerator / *denominator)
                                                      : std::nullopt;
}

Json latency_json(const std::optional<LatencySummary>& latency) {
  Json histogram = Json::array();
  if (latency) {
    for (const LatencyBucket& bucket : latency->buckets) {
      histogram.push_back(Json::array({bucket.us, bucket.samples}));
    }
  }
  return {{"histogram", std::move(histogram)},
          {"samples", latency ? latency->samples : 0},
          {"p50", latency ? Json(latency->p50_us) : Json(nullptr)},
          {"p99", latency ? Json(latency->p99_us) : Json(nullptr)},
          {"max", latency ? Json(latency->max_us) : Json(nullptr)}};
}

Json fault_json(const RunStats& stats) {
  const FaultCounters& faults = stats.faults;
  return {{"delayed", faults.delayed},
          {"dropped", faults.dropped},
          {"stalled", faults.stalled},
          {"duplicated", faults.duplicated},
          {"reordered", faults.reordered},
          {"declined", faults.declined},
          {"failed", faults.failed},
          {"partial_ranges", faults.partial_ranges},
          {"late_discards", stats.late_discards}};
}

// What becomes of batches between submission and answer.
void add_asynchronous(Json& json, const RunStats& stats) {
  Json channels = Json::array();
  for (const RunStats::Channel& channel : stats.channels) {
    channels.push_back({{"batches", channel.batches},
                        {"ranges", channel.ranges},
                        {"bytes", channel.bytes},
                        {"doorbells", channel.doorbells},
                        {"doorbells_suppressed", channel.doorbells_suppressed},
                        {"interrupts", channel.interrupts},
                        {"max_batches", channel.max_batches},
                        {"host_latency_us", latency_json(channel.latency)}});
  }
  json["channels"] = std::move(channels);
  json["inflight"] = {{"max_bytes", stats.inflight.max_bytes},
                      {"latency_us", latency_json(stats.inflight.latency)}};
  json["oom"] = {{"waits", stats.oom.waits},
                 {"false", stats.oom.false_ones},
                 {"wait_us", latency_json(stats.oom.wait)}};
  json["allocator"] = {{"moved_bytes", stats.allocator.moved_bytes},
                       {"spun_us", stats.allocator.spun_us},
                       {"zero_asked_bytes", stats.allocator.zero_asked_bytes},
                       {"memset_skipped_bytes", stats.allocator.memset_skipped_bytes}};
  json["quarantine"] = {{"bytes", stats.quarantine.bytes},
                        {"late_answers", stats.quarantine.late_answers},
                        {"ignored_answers", stats.quarantine.ignored_answers}};
  json["wakeups"] = stats.wakeups;
  json["doorbells_suppressed"] = stats.doorbells_suppressed;
  json["faults"] = fault_json(stats);
}

Json spending_json(const std::optional<Spending>& spent) {
  if (!spent) {
    return nullptr;
  }
  return {{"discard_ns", spent->discard_ns},
          {"doorbell_ns", spent->doorbell_ns},
          {"refault_ns", spent->refault_ns},
          {"sum_ns", spent->sum_ns()}};
}

Json ledger_json(const Ledger& ledger) {
  Json orders = Json::array();
  for (std::size_t order = 0; order < ledger.orders.size(); ++order) {
    const Ledger::Row& row = ledger.orders[order];
    if (row.use.ranges != 0) {
      orders.push_back({{"order", order},
                        {"ranges", row.use.ranges},
                        {"discarded_bytes", row.use.discarded_bytes},
                        {"reused_bytes", row.use.reused_bytes},
                        {"away_mib_s", row.use.away_mib_s},
                        {"spent", spending_json(row.spent)},
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
          {"spent", spending_json(ledger.spent)},
          {"net_mib_s", ledger.net_mib_s},
          {"orders", std::move(orders)}};
}

// Lists of equal length: a tenth of the text of objects.
Json series_json(const MemorySeries& series) {
  constexpr std::uint64_t ns_per_ms = 1'000'000;
  Json at_ms = Json::array();
  Json resident = Json::array();
  Json live = Json::array();
  const auto points = series.points();
  for (const MemoryPoint& point : points) {
    at_ms.push_back((point.at_ns - points.front().at_ns) / ns_per_ms);
    resident.push_back(point.resident_bytes ? Json(*point.resident_bytes / kib) : Json(nullptr));
    live.push_back(point.live_bytes / kib);
  }
  return {{"at_ms", std::move(at_ms)},
          {"resident_kib", std::move(resident)},
          {"live_kib", std::move(live)}};
}

// Times are since the guest began to run.
Json changes_json(const RunStats& stats) {
  Json last = Json::array();
  for (const ReportChange& change : stats.report_changes.last) {
    const abi::ReportPolicy& policy = change.settings.policy;
    const std::uint64_t since_ns =
        change.at_ns > stats.first_run_ns ? change.at_ns - stats.first_run_ns : 0;
    last.push_back({{"at_ms", static_cast<double>(since_ns) / 1e6},
                    {"enabled", policy.enabled != 0},
                    {"order", policy.order},
                    {"batch", policy.batch},
                    {"keep_bytes", policy.keep_bytes},
                    {"delay_ns", policy.delay_ns},
                    {"timeout_ns", change.settings.timeout_ns},
                    {"automatic", change.settings.automatic},
                    {"strategy", name_of(policy.strategy)}});
  }
  return {{"count", stats.report_changes.count}, {"last", std::move(last)}};
}

} // namespace

std::uint64_t RunStats::doorbells() const {
  std::uint64_t sum = 0;
  for (const Channel& channel : channels) {
    sum += channel.doorbells;
  }
  return sum;
}

std::optional<double> RunStats::Memory::footprint_ratio() const {
  return ratio(rss_mib_s, live_mib_s);
}

std::optional<double> RunStats::Memory::unreported_ratio() const {
  return ratio(unreported_mib_s, live_mib_s);
}

void RunStats::take(const FootprintIntegral& footprint) {
  workload.seconds = footprint.seconds();
  const bool fine = footprint.is_fine();
  if (fine) {
    memory.rss_mib_s = footprint.resident_mib_s();
    memory.live_mib_s = footprint.live_mib_s();
    memory.unreported_mib_s = footprint.unreported_mib_s();
  }
  if (fine || footprint.resident_peak_seen()) {
    memory.rss_peak_bytes = footprint.resident_peak_bytes();
  }
  if (fine || footprint.live_peak_told()) {
    memory.live_peak_bytes = footprint.live_peak_bytes();
  }
  if (footprint.points() == 0) {
    memory.missing = "the workload never began";
  } else if (!fine) {
    memory.missing = fmt::format("{} samples in {} are too few to tell", footprint.points(),
                                 human_duration(footprint.seconds()));
  } else if (!memory.rss_mib_s) {
    memory.missing = "this host does not tell how much memory is resident";
  } else if (!memory.unreported_mib_s) {
    memory.missing = "the model without reporting needs PAGEMAP_SCAN (Linux 6.7)";
  }
}

Json to_json(const RunStats& stats) {
  const auto& guest = stats.guest;
  const auto& workload = stats.workload;
  const auto& report = stats.report;
  const auto& hints = stats.hints;
  const auto& exits = stats.exits;
  const auto& memory = stats.memory;
  Json json;
  json["version"] = version;
  json["guest"] = {{"exit_status", guest.exit_status}, {"boot_us", guest.boot_us}};
  json["workload"] = {
      {"name", workload.name},
      {"seconds", workload.seconds},
      {"cpu_seconds", workload.cpu_seconds},
      {"events", workload.events},
      {"verified_pages", workload.verified_pages},
      {"behind_ms", workload.behind_ms ? Json(*workload.behind_ms) : Json(nullptr)}};
  json["report"] = {{"enabled", report.enabled != 0},
                    {"order", report.order},
                    {"batch", report.batch},
                    {"keep_bytes", report.keep_bytes},
                    {"delay_ns", report.delay_ns},
                    {"timeout_ns", stats.report_timeout_ns},
                    {"automatic", stats.report_automatic},
                    {"order_in_force", stats.report_order_in_force},
                    {"half_life_ns", stats.report_half_life_ns},
                    {"strategy", name_of(report.strategy)},
                    {"changes", changes_json(stats)}};
  json["vcpus"] = stats.vcpus;
  json["host"] = {{"mode", name_of(stats.host.mode)},
                  {"workers", stats.host.workers},
                  {"protocol_errors", stats.host.protocol_errors},
                  {"worker_sleeps", stats.host.worker_sleeps},
                  {"worker_naps", stats.host.worker_naps},
                  {"discard_calls", stats.host.discard_calls},
                  {"discard_retries", stats.host.discard_retries},
                  {"partial_discards", stats.host.partial_discards},
                  {"failed_discards", stats.host.failed_discards}};
  json["hints"] = {{"batches", hints.batches},
                   {"ranges", hints.ranges},
                   {"bytes", hints.bytes},
                   {"discarded_bytes", hints.discarded_bytes},
                   {"declined_bytes", hints.declined_bytes},
                   {"failed_ranges", hints.failed_ranges},
                   {"redundant_bytes", hints.redundant_bytes},
                   {"host_ns", hints.host_ns},
                   {"doorbells", stats.doorbells()}};
  add_asynchronous(json, stats);
  if (stats.trace) {
    json["trace"] = {{"complete", stats.trace->complete()},
                     {"records", stats.trace->records},
                     {"lost_records", stats.trace->lost_records},
                     {"lost_guest_events", stats.trace->lost_guest_events}};
    if (!stats.trace->why.empty()) {
      json["trace"]["why"] = stats.trace->why;
    }
  }
  if (stats.oracle) {
    json["oracle"] = {{"guarded_bytes", stats.oracle->guarded_bytes},
                      {"unguarded_ranges", stats.oracle->unguarded_ranges},
                      {"touched_bytes", stats.oracle->touched_bytes},
                      {"scans", stats.oracle->scans}};
  }
  json["exits"] = {
      {"total", exits.total}, {"doorbells", exits.doorbells}, {"vmcalls", exits.vmcalls}};
  json["prefaults"] = {{"calls", stats.prefaults.calls}, {"bytes", stats.prefaults.bytes}};
  json["memory"] = {
      {"guest_bytes", memory.guest_bytes},
      {"backing", memory.backing},
      {"rss_peak_bytes", memory.rss_peak_bytes},
      {"rss_final_bytes", memory.rss_final_bytes},
      {"live_peak_bytes", memory.live_peak_bytes},
      {"settle_ms", memory.settle_ms},
      {"rss_mib_s", memory.rss_mib_s},
      {"live_mib_s", memory.live_mib_s},
      {"footprint_ratio", memory.footprint_ratio()},
      {"unreported_mib_s", memory.unreported_mib_s},
      {"unreported_footprint_ratio", memory.unreported_ratio()},
      {"minor_faults", memory.minor_faults},
      {"missing", memory.missing.empty() ? Json(nullptr) : Json(memory.missing)},
      {"failed_samples", memory.failed_samples},
      {"last_failure", memory.failed_samples != 0 ? Json(memory.last_failure) : Json(nullptr)}};
  json["ledger"] = stats.ledger ? ledger_json(*stats.ledger) : Json(nullptr);
  json["series"] = series_json(stats.series);
  return json;
}

std::string to_text(const Json& json) {
  return json.lines(2);
}

} // namespace vmm
