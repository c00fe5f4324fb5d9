// SPDX-License-Identifier: MIT
#include "vmm/report/metrics.hpp"

#include <array>
#include <optional>
#include <string>

#include "vmm/base/append_text.hpp"
#include "vmm/base/units.hpp"
#include "vmm/base/version.hpp"

namespace vmm {
namespace {

using Stats = const RunStats&;

constexpr double ns_per_second = 1e9;

double seconds(std::uint64_t ns) {
  return static_cast<double>(ns) / ns_per_second;
}

std::optional<double> seconds(std::optional<std::uint64_t> ns) {
  return ns ? std::optional(seconds(*ns)) : std::nullopt;
}

std::optional<double> byte_seconds(std::optional<double> mib_s) {
  return mib_s ? std::optional(*mib_s * static_cast<double>(mib)) : std::nullopt;
}

using enum MetricType;

constexpr std::array rows{
    Metric{"ebb_memory_guest_bytes", gauge, "RAM that the guest was given.",
           [](Stats s) { return Json(s.memory.guest_bytes); }},
    Metric{"ebb_memory_resident_bytes", gauge, "Host memory behind guest RAM.",
           [](Stats s) { return Json(s.last.resident_bytes); }},
    Metric{"ebb_memory_resident_peak_bytes", gauge, "The most of it in the measured interval.",
           [](Stats s) { return Json(s.memory.rss_peak_bytes); }},
    Metric{"ebb_memory_live_bytes", gauge, "What the guest has allocated.",
           [](Stats s) { return Json(s.last.guest.live_bytes); }},
    Metric{"ebb_memory_live_peak_bytes", gauge, "The most of it in the measured interval.",
           [](Stats s) { return Json(s.memory.live_peak_bytes); }},
    Metric{"ebb_memory_fresh_bytes", gauge, "Free memory that the host was not told about.",
           [](Stats s) { return Json(s.last.guest.fresh_bytes); }},
    Metric{"ebb_memory_reported_bytes", gauge, "Free memory that the host was told about.",
           [](Stats s) { return Json(s.last.guest.reported_bytes); }},
    Metric{"ebb_memory_isolated_bytes", gauge, "Free memory whose answer is awaited.",
           [](Stats s) { return Json(s.last.guest.isolated_bytes); }},
    Metric{"ebb_memory_cached_bytes", gauge, "Free memory in the page caches of vCPUs.",
           [](Stats s) { return Json(s.last.guest.cached_bytes); }},
    Metric{"ebb_memory_quarantined_bytes", gauge, "Isolated memory whose answer is overdue.",
           [](Stats s) { return Json(s.guest.quarantined_bytes); }},
    Metric{"ebb_memory_resident_byte_seconds_total", counter,
           "Integral of resident memory over the measured interval.",
           [](Stats s) { return Json(byte_seconds(s.memory.rss_mib_s)); }},
    Metric{"ebb_memory_live_byte_seconds_total", counter,
           "Integral of allocated memory over the measured interval.",
           [](Stats s) { return Json(byte_seconds(s.memory.live_mib_s)); }},
    Metric{"ebb_memory_unreported_byte_seconds_total", counter,
           "The model of the first without reporting.",
           [](Stats s) { return Json(byte_seconds(s.memory.unreported_mib_s)); }},
    Metric{"ebb_memory_failed_samples_total", counter,
           "Measurements of resident memory that failed.",
           [](Stats s) { return Json(s.failures.count); }},
    Metric{"ebb_hints_batches_total", counter, "Batches of hints that were taken.",
           [](Stats s) { return Json(s.hints.batches); }},
    Metric{"ebb_hints_ranges_total", counter, "Ranges of memory in them.",
           [](Stats s) { return Json(s.hints.ranges); }},
    Metric{"ebb_hints_hinted_bytes_total", counter, "Memory that was hinted.",
           [](Stats s) { return Json(s.hints.bytes); }},
    Metric{"ebb_hints_discarded_bytes_total", counter, "Hinted memory that was given back.",
           [](Stats s) { return Json(s.hints.discarded_bytes); }},
    Metric{"ebb_hints_declined_bytes_total", counter, "Hinted memory that was left as it was.",
           [](Stats s) { return Json(s.hints.declined_bytes); }},
    Metric{"ebb_hints_redundant_bytes_total", counter,
           "Memory hinted though not allocated since the last answer.",
           [](Stats s) { return Json(s.guest.redundant_bytes); }},
    Metric{"ebb_hints_failed_ranges_total", counter, "Ranges that were not accepted.",
           [](Stats s) { return Json(s.hints.failed_ranges); }},
    Metric{"ebb_hints_protocol_errors_total", counter,
           "Ring overruns, bad submissions and lost answers.",
           [](Stats s) { return Json(s.hints.protocol_errors); }},
    Metric{"ebb_discard_calls_total", counter, "System calls that gave memory back.",
           [](Stats s) { return Json(s.hints.discard_calls); }},
    Metric{"ebb_discard_seconds_total", counter, "Time in them.",
           [](Stats s) { return Json(seconds(s.hints.host_ns)); }},
    Metric{"ebb_discard_failures_total", counter, "Ranges whose call failed.",
           [](Stats s) { return Json(s.hints.failed_discards); }},
    Metric{"ebb_doorbells_total", counter, "Doorbells that reached the host.",
           [](Stats s) { return Json(s.hints.doorbells); }},
    Metric{"ebb_doorbells_suppressed_total", counter, "Doorbells that need not be rung.",
           [](Stats s) { return Json(s.hints.doorbells_suppressed); }},
    Metric{"ebb_interrupts_total", counter, "Interrupts that woke vCPUs for answers.",
           [](Stats s) { return Json(s.hints.interrupts); }},
    Metric{"ebb_host_faults_total", counter, "Misbehaviour of --host-fault.",
           [](Stats s) { return Json(s.hints.faults.sum()); }},
    Metric{"ebb_exits_total", counter, "Returns from the guest to the vmm.",
           [](Stats s) { return Json(s.exits.exits); }},
    Metric{"ebb_prefaulted_bytes_total", counter, "Memory that --prefault made resident.",
           [](Stats s) { return Json(s.prefaults.bytes); }},
    Metric{"ebb_oom_waits_total", counter, "Allocations that waited for answers.",
           [](Stats s) { return Json(s.guest.oom_waits); }},
    Metric{"ebb_oom_failures_total", counter, "Allocations that failed with ranges in flight.",
           [](Stats s) { return Json(s.guest.oom_failures); }},
    Metric{"ebb_report_enabled", gauge, "1 when reporting is on.",
           [](Stats s) { return Json(s.report.policy.enabled); }},
    Metric{"ebb_report_order", gauge, "Order of the smallest block that is reported.",
           [](Stats s) { return Json(s.guest.report_order); }},
    Metric{"ebb_report_batch_ranges", gauge, "Ranges of a full batch.",
           [](Stats s) { return Json(s.report.policy.batch); }},
    Metric{"ebb_report_keep_bytes", gauge, "Free memory that is never reported.",
           [](Stats s) { return Json(s.report.policy.keep_bytes); }},
    Metric{"ebb_report_delay_seconds", gauge, "How long a batch may wait to be full.",
           [](Stats s) { return Json(seconds(s.report.policy.delay_ns)); }},
    Metric{"ebb_report_changes_total", counter, "Changes of the policy while the guest ran.",
           [](Stats s) { return Json(s.report_changes.count); }},
    Metric{"ebb_pressure_active", gauge, "1 while --pressure has given up reserve and delays.",
           [](Stats s) { return s.pressure ? Json(s.pressure->now ? 1 : 0) : Json(); }},
    Metric{"ebb_pressure_periods_total", counter, "How often it has.",
           [](Stats s) { return s.pressure ? Json(s.pressure->times) : Json(); }},
    Metric{"ebb_pressure_seconds_total", counter, "For how long in all.",
           [](Stats s) { return s.pressure ? Json(seconds(s.pressure->ns)) : Json(); }},
    Metric{"ebb_workload_events_total", counter, "What the workload has done.",
           [](Stats s) { return Json(s.last.guest.events); }},
    Metric{"ebb_workload_verified_pages_total", counter, "Pages whose content it has checked.",
           [](Stats s) { return Json(s.last.guest.verified_pages); }},
    Metric{"ebb_workload_behind_seconds", gauge, "The most it was behind a recording's times.",
           [](Stats s) { return Json(seconds(s.behind_ns())); }},
    Metric{"ebb_measured_seconds_total", counter, "Length of the measured interval so far.",
           [](Stats s) { return Json(s.memory.seconds); }},
    Metric{"ebb_boot_seconds", gauge, "From the guest's first instruction to its workload.",
           [](Stats s) { return Json(seconds(s.times.boot_ns())); }},
    Metric{"ebb_vcpus", gauge, "vCPUs of the guest.", [](Stats s) { return Json(s.vcpus); }},
};

// Of a label's value, in quotes.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char character : text) {
    if (character == '\\' || character == '"') {
      result += '\\';
      result += character;
    } else {
      result += character == '\n' ? std::string_view("\\n") : std::string_view(&character, 1);
    }
  }
  return result;
}

void head(std::string& text, std::string_view name, MetricType type, std::string_view help) {
  append_text(text, "# HELP {} {}\n# TYPE {} {}\n", name, help, name,
              type == counter ? "counter" : "gauge");
}

} // namespace

std::span<const Metric> metrics() {
  return rows;
}

std::string prometheus_text(const RunStats& stats) {
  std::string text;
  head(text, "ebb_info", gauge, "1; what runs is in the labels.");
  append_text(text, "ebb_info{{version=\"{}\",workload=\"{}\",backing=\"{}\",host=\"{}\"}} 1\n",
              version, escaped(stats.workload), stats.memory.backing, name_of(stats.host_mode));
  for (const Metric& metric : rows) {
    const std::string value = metric.value(stats).line();
    if (value == "null") {
      continue;
    }
    head(text, metric.name, metric.type, metric.help);
    append_text(text, "{} {}\n", metric.name, value);
  }
  return text;
}

std::string metrics_line(const RunStats& stats, double unix_seconds) {
  Json line;
  line["time_seconds"] = unix_seconds;
  line["workload"] = stats.workload;
  for (const Metric& metric : rows) {
    line[metric.name] = metric.value(stats);
  }
  return line.line();
}

} // namespace vmm
