// SPDX-License-Identifier: MIT
#include "vmm/debug/debug_monitor.hpp"

#include <atomic>

#include <fmt/core.h>

#include "vmm/base/or_dash.hpp"
#include "vmm/base/units.hpp"

namespace vmm {

namespace {

std::string row(std::string_view name, const std::string& value) {
  return fmt::format("{:<20}{:>14}\n", name, value);
}

} // namespace

std::string DebugMonitor::execute(std::string_view line) const {
  if (line == "hints") {
    return hints();
  }
  if (line == "memory") {
    return memory();
  }
  const std::string_view word = line.substr(0, line.find(' '));
  if (sources_.control && (word == "report" || word == "trace")) {
    return sources_.control(line) + "\n";
  }
  constexpr std::string_view help =
      "monitor hints   what the guest has hinted, and what became of it\n"
      "monitor memory  host memory behind the guest, and what it is for\n"
      "monitor report  the policy; on, off or KEY=VALUE,... re-tune it\n"
      "monitor trace   what is being recorded; start (--trace-start off) and stop\n"
      "monitor core    the guest as it is now into the file of --core, for gdb to open later\n"
      "monitor help\n";
  if (line == "help" || line.empty()) {
    return std::string(help);
  }
  return fmt::format("{:?}: no such command; there are\n{}", line, help);
}

std::string DebugMonitor::hints() const {
  const HintTotals totals = sources_.hints();
  const GuestSample guest = sources_.memory().guest;
  return row("batches", grouped(totals.batches)) + row("ranges", grouped(totals.ranges)) +
         row("hinted", human_size(totals.bytes)) +
         row("discarded", human_size(totals.discarded_bytes)) +
         row("declined", human_size(totals.declined_bytes)) +
         row("failed ranges", grouped(totals.failed_ranges)) +
         row("protocol errors", grouped(totals.protocol_errors)) +
         row("in flight", human_size(guest.isolated_bytes)) +
         row("  in quarantine", human_size(sources_.quarantined_bytes()));
}

std::string DebugMonitor::memory() const {
  const MemorySample now = sources_.memory();
  return row("host memory", or_dash(now.resident_bytes, human_size)) +
         row("guest RAM", human_size(sources_.guest_bytes)) +
         row("  live", human_size(now.guest.live_bytes)) +
         row("  free, not reported", human_size(now.guest.fresh_bytes)) +
         row("  free, reported", human_size(now.guest.reported_bytes)) +
         row("  in page caches", human_size(now.guest.cached_bytes)) +
         row("  in flight", human_size(now.guest.isolated_bytes));
}

std::uint64_t read_quarantined_bytes(abi::GuestStatus& status) {
  return std::atomic_ref(status.quarantined_bytes).load(std::memory_order_relaxed);
}

} // namespace vmm
