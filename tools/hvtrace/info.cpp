// SPDX-License-Identifier: MIT
#include "tools/hvtrace/info.hpp"

#include <chrono>
#include <ctime>
#include <iterator>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "vmm/trace/event_text.hpp"

namespace hvtrace {

namespace {

// Events of the guest that did not get into the trace.
std::uint64_t guest_events_lost(const TraceFile& trace) {
  std::uint64_t lost = 0;
  for (std::uint64_t number = trace.first(); number < trace.end(); ++number) {
    const auto record = trace.at(number);
    lost += record && record->event == abi::TraceEvent::guest_lost ? record->value : 0;
  }
  return lost;
}

// "yes", or "no: " and all that is missing.
std::string completeness(const TraceFile& trace) {
  const abi::TraceHeader& header = trace.header();
  std::string missing;
  const auto add = [&missing](const std::string& text) {
    missing += (missing.empty() ? "no: " : ", ") + text;
  };
  if (trace.cut_off() != 0) {
    add(fmt::format("{} records are cut off", trace.cut_off()));
  }
  if (header.lost != 0) {
    add(fmt::format("{} records were lost, there was no room for them", header.lost));
  }
  if (const std::uint64_t lost = guest_events_lost(trace); lost != 0) {
    add(fmt::format("{} events of the guest were lost, its ring was full", lost));
  }
  if (missing.empty() && !trace.finished()) {
    add("the vmm did not get to its end");
  }
  return missing.empty() ? "yes" : missing;
}

} // namespace

std::string render_info(const TraceFile& trace) {
  const abi::TraceHeader& header = trace.header();
  TextBuffer out;
  const auto to = std::back_inserter(out);
  const std::chrono::sys_time<std::chrono::nanoseconds> start(
      std::chrono::nanoseconds(header.start_realtime_ns >> 1 << 1));
  fmt::format_to(to, "trace      version {}.{}, level {}, {} records of {} bytes{}\n",
                 header.version_major, header.version_minor, level_name(header.level),
                 trace.end() - trace.first(), header.record_bytes,
                 header.storage == abi::TraceStorage::ring
                     ? fmt::format(" (a ring: the last {})", header.capacity)
                     : std::string());
  fmt::format_to(to, "complete   {}\n", completeness(trace));
  fmt::format_to(to, "recorded   {:%Y-%m-%d %H:%M:%S} UTC\n",
                 std::chrono::time_point_cast<std::chrono::seconds>(
                     std::chrono::time_point_cast<std::chrono::system_clock::duration>(start)));
  fmt::format_to(to, "clock      monotonic ns since {}, TSC {} at {} kHz\n", header.start_ns,
                 header.start_tsc, header.tsc_khz);
  fmt::format_to(to, "guest      {} of RAM, {} vCPUs, image {} (hash {:016x})\n",
                 size_text(header.ram_bytes), header.vcpus, header.image, header.image_hash);
  fmt::format_to(to, "policy     {}order {}, batch {}, keep {}, delay {}\n",
                 header.policy.enabled != 0 ? "" : "off, ", header.policy.order,
                 header.policy.batch, size_text(header.policy.keep_bytes),
                 duration(header.policy.delay_ns));
  fmt::format_to(to, "host       {}, backing {}, discard {}\n", header.host, header.backing,
                 header.discard);
  fmt::format_to(to, "events\n");
  for (std::uint32_t index = 0; index < header.event_count; ++index) {
    const abi::TraceEventInfo& info = header.events[index];
    std::string fields;
    for (const std::string_view field :
         {std::string_view(info.address), std::string_view(info.value),
          std::string_view(info.count), std::string_view(info.order),
          std::string_view(info.detail)}) {
      if (!field.empty()) {
        fields += fields.empty() ? "" : ", ";
        fields += field;
      }
    }
    fmt::format_to(to, "  {:>3} {:<16} {}\n", static_cast<unsigned>(info.event), info.name, fields);
  }
  return fmt::to_string(out);
}

std::string render_check(const CheckResult& result) {
  TextBuffer out;
  const auto to = std::back_inserter(out);
  for (const Violation& violation : result.violations) {
    fmt::format_to(to, "record {}: {}\n", violation.number, violation.text);
  }
  if (result.violation_count > result.violations.size()) {
    fmt::format_to(to, "... and {} more\n", result.violation_count - result.violations.size());
  }
  fmt::format_to(to, "{}: {} records, {} violations", result.violation_count == 0 ? "ok" : "BROKEN",
                 result.records, result.violation_count);
  if (result.incomplete) {
    fmt::format_to(to, "; incomplete at the end");
  }
  if (result.guest_lost != 0) {
    fmt::format_to(to, "; {} events of the guest were lost, what needs them was not checked",
                   result.guest_lost);
  } else if (!result.guest_complete) {
    fmt::format_to(to, "; without the guest's events, what needs them was not checked");
  }
  fmt::format_to(to, "\n");
  return fmt::to_string(out);
}

} // namespace hvtrace
