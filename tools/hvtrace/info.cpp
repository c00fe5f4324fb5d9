// SPDX-License-Identifier: MIT
#include "tools/hvtrace/info.hpp"

#include <array>
#include <ctime>

#include <fmt/core.h>

#include "vmm/base/append_text.hpp"
#include "vmm/base/units.hpp"
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

// A line on where in the run it begins; empty: with it.
std::string beginning(const TraceFile& trace) {
  const auto first = trace.at(1);
  if (!first || first->event != abi::TraceEvent::continued) {
    return {};
  }
  const bool rotated = first->detail == static_cast<std::uint8_t>(abi::TraceOrigin::rotated);
  return fmt::format("begins     while the guest runs{}\n",
                     rotated ? fmt::format(", where a trace of {} records ends", first->value)
                             : std::string());
}

// "2026-01-31 23:59:59": of the wall clock, in ns since the epoch.
std::string utc(std::uint64_t realtime_ns) {
  const auto seconds = static_cast<std::time_t>(realtime_ns / 1'000'000'000);
  std::tm parts{};
  static_cast<void>(::gmtime_r(&seconds, &parts)); // no year that ns can name is too large
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts)};
}

} // namespace

std::string render_info(const TraceFile& trace) {
  const abi::TraceHeader& header = trace.header();
  std::string out;
  vmm::append_text(out, "trace      version {}.{}, level {}, {} records of {} bytes{}\n",
                   header.version_major, header.version_minor, level_name(header.level),
                   trace.end() - trace.first(), header.record_bytes,
                   header.storage == abi::TraceStorage::ring
                       ? fmt::format(" (a ring: the last {})", header.capacity)
                       : std::string());
  vmm::append_text(out, "complete   {}\n", completeness(trace));
  out += beginning(trace);
  vmm::append_text(out, "recorded   {} UTC\n", utc(header.start_realtime_ns));
  vmm::append_text(out, "clock      monotonic ns since {}, TSC {} at {} kHz\n", header.start_ns,
                   header.start_tsc, header.tsc_khz);
  vmm::append_text(out, "guest      {} of RAM, {} vCPUs, image {} (hash {:016x})\n",
                   size_text(header.ram_bytes), header.vcpus, header.image, header.image_hash);
  vmm::append_text(out, "policy     {}order {}, batch {}, keep {}, delay {}\n",
                   header.policy.enabled != 0 ? "" : "off, ", header.policy.order,
                   header.policy.batch, size_text(header.policy.keep_bytes),
                   vmm::human_duration_ns(header.policy.delay_ns));
  vmm::append_text(out, "host       {}, backing {}, discard {}\n", header.host, header.backing,
                   header.discard);
  out += "events\n";
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
    vmm::append_text(out, "  {:>3} {:<16} {}\n", static_cast<unsigned>(info.event), info.name,
                     fields);
  }
  return out;
}

std::string render_check(const CheckResult& result) {
  std::string out;
  for (const Violation& violation : result.violations) {
    vmm::append_text(out, "record {}: {}\n", violation.number, violation.text);
  }
  if (result.violation_count > result.violations.size()) {
    vmm::append_text(out, "... and {} more\n", result.violation_count - result.violations.size());
  }
  vmm::append_text(out, "{}: {} records, {} violations",
                   result.violation_count == 0 ? "ok" : "BROKEN", result.records,
                   result.violation_count);
  if (result.incomplete) {
    out += "; incomplete at the end";
  }
  if (result.guest_lost != 0) {
    vmm::append_text(out, "; {} events of the guest were lost, what needs them was not checked",
                     result.guest_lost);
  } else if (!result.guest_complete) {
    out += "; without the guest's events, what needs them was not checked";
  }
  out += "\n";
  return out;
}

} // namespace hvtrace
