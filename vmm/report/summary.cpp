// SPDX-License-Identifier: MIT
#include "vmm/report/summary.hpp"

#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "vmm/base/append_text.hpp"
#include "vmm/base/or_dash.hpp"
#include "vmm/base/units.hpp"
#include "vmm/measure/latency.hpp"
#include "vmm/settings/report_settings.hpp"

namespace vmm {
namespace {

constexpr std::size_t most_columns = 80;
// What the widest counts leave of 80 columns.
constexpr std::size_t name_limit = 16;

// Rows of two cells, a label and a value each: the left cells describe hints, the right ones
// memory.
class Table {
 public:
  void heading(std::string_view left, std::string_view right) {
    append_text(text_, "  {:<38}{}\n", left, right);
  }

  void row(std::string_view left, std::string_view left_value, std::string_view right,
           std::string_view right_value) {
    std::string line =
        fmt::format("    {:<13}{:>17}    {:<22}{:>16}", left, left_value, right, right_value);
    line.erase(line.find_last_not_of(' ') + 1);
    text_ += line;
    text_ += '\n';
  }

  void line(std::string_view text) {
    text_ += text;
    text_ += '\n';
  }

  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string mib_s_text(std::optional<double> value) {
  return value ? fmt::format("{:.1f} MiB s", *value) : "-";
}

std::string ratio_text(std::optional<double> ratio) {
  return ratio ? fmt::format("{:.3f}", *ratio) : "-";
}

enum class Chosen : std::uint8_t { by_hand, automatically };

Chosen chosen(bool automatic) {
  return automatic ? Chosen::automatically : Chosen::by_hand;
}

// `stats` tells what became of a policy that adapts.
std::string policy_text(const RunStats& stats, const abi::ReportPolicy& policy, Chosen chosen) {
  if (policy.enabled == 0) {
    return "report off";
  }
  std::string text = fmt::format("report order {}, batch {}", policy.order, policy.batch);
  if (policy.strategy != abi::ReportStrategy::batch) {
    text = fmt::format("report {}, order {}", name_of(policy.strategy), policy.order);
  }
  if (chosen == Chosen::automatically) {
    text = fmt::format("report auto, order {}, batch {}", stats.guest.report_order, policy.batch);
  }
  if (policy.strategy == abi::ReportStrategy::adaptive) {
    const auto half_life_ns = stats.half_life_ns();
    text += half_life_ns ? fmt::format(", half-life {}", human_duration_ns(*half_life_ns))
                         : ", nothing let go";
  }
  if (policy.keep_bytes != 0) {
    text += fmt::format(", keep {}", human_size(policy.keep_bytes));
  }
  if (policy.delay_ns != 0 && chosen == Chosen::by_hand) {
    text += fmt::format(", delay {}", human_duration_ns(policy.delay_ns));
  }
  return text;
}

std::string shortened(std::string_view name) {
  return name.size() <= name_limit ? std::string(name)
                                   : fmt::format("{}...", name.substr(0, name_limit - 3));
}

std::string latency_text(const abi::LatencyHistogram& latency) {
  const auto summary = summarize(latency);
  return summary ? fmt::format("{} / {}", human_duration(summary->p50_us / 1e6),
                               human_duration(summary->p99_us / 1e6))
                 : "-";
}

void add_allocator(Table& table, const RunStats& stats) {
  const AllocatorTotals allocator = AllocatorTotals::of(stats.guest);
  if (allocator.moved_bytes != 0) {
    table.row("moved", human_size(allocator.moved_bytes), "", "");
  }
  if (allocator.zero_asked_bytes != 0) {
    table.row("zeroes wanted", human_size(allocator.zero_asked_bytes), "not to be written",
              human_size(allocator.memset_skipped_bytes));
  }
}

// That nothing went back although hints came, and what that may be due to.
void add_refusal(Table& table, const HintTotals& hints) {
  if (hints.bytes == 0 || hints.discarded_bytes != 0) {
    return;
  }
  table.line("");
  if (hints.failed_discards != 0) {
    table.line("  Nothing went back: this kernel refused every discard. Is the memory locked?");
  } else if (hints.lazily_freed_bytes != 0) {
    table.line("  Freed lazily: memory counts as resident until this kernel wants it.");
  } else {
    table.line("  Nothing went back: the host declined every hint (--discard none,");
    table.line("  --decline-below, a host fault, or blocks smaller than the backing's pages).");
  }
}

// Only where something may be in flight while the guest runs.
void add_asynchronous(Table& table, const RunStats& stats) {
  const HintTotals& hints = stats.hints;
  const FaultCounters& faults = hints.faults;
  const abi::GuestStatus& guest = stats.guest;
  if (stats.host_mode == HostMode::sync && faults.sum() == 0) {
    return;
  }
  table.line("");
  table.heading(
      fmt::format("Host {}", stats.host_mode == HostMode::sync
                                 ? std::string("sync")
                                 : fmt::format("{}, {} worker{}", name_of(stats.host_mode),
                                               stats.workers, stats.workers == 1 ? "" : "s")),
      "Ranges in flight");
  table.row("wake-ups", grouped(hints.interrupts), "most at a time",
            human_size(guest.max_in_flight_bytes));
  table.row("silent rings", grouped(hints.doorbells_suppressed), "p50 / p99",
            latency_text(guest.answer_latency));
  table.row("oom waits", grouped(guest.oom_waits), "oom wait p50 / p99",
            latency_text(guest.oom_wait));
  table.row("false oom", grouped(guest.oom_failures), "quarantined",
            human_size(guest.quarantined_bytes));
  if (faults.sum() == 0) {
    return;
  }
  table.row("answers late", grouped(faults.delayed), "answers never given",
            grouped(faults.dropped + faults.stalled));
  table.row("repeated", grouped(faults.duplicated), "out of order", grouped(faults.reordered));
  table.row("declined", grouped(faults.declined), "ranges left out",
            grouped(faults.partial_ranges));
  table.row("failed", grouped(faults.failed), "ignored by the guest",
            grouped(guest.ignored_answers));
}

std::string time_text(const std::optional<Spending>& spent, double Spending::*part) {
  return spent ? human_duration((*spent).*part / 1e9) : "-";
}

// What reporting saved, what that cost, and which orders it came from.
void add_ledger(Table& table, const RunStats& stats) {
  if (!stats.ledger || stats.hints.batches == 0) {
    return;
  }
  const Ledger& ledger = *stats.ledger;
  table.line("");
  table.heading("Time spent", "Memory saved");
  table.row("discards", time_text(ledger.spent, &Spending::discard_ns), "saved (model)",
            mib_s_text(ledger.saved_mib_s));
  table.row("doorbells", time_text(ledger.spent, &Spending::doorbell_ns), "net benefit",
            mib_s_text(ledger.net_mib_s));
  table.row("refaults", time_text(ledger.spent, &Spending::refault_ns), "  at, for 1 MiB s",
            human_duration_ns(ledger.memory_price_ns));
  table.row("all", ledger.spent ? human_duration(ledger.spent->sum_ns() / 1e9) : "-", "came back",
            human_size(ledger.reused_bytes));
  table.line("");
  table.line(fmt::format("  {:<7}{:>15}{:>12}{:>12}{:>16}{:>16}", "Order", "ranges", "discarded",
                         "came back", "away", "net benefit"));
  for (std::size_t order = 0; order < ledger.orders.size(); ++order) {
    const Ledger::Row& row = ledger.orders[order];
    if (row.use.ranges != 0) {
      table.line(fmt::format("    {:<5}{:>15}{:>12}{:>12}{:>16}{:>16}", order,
                             grouped(row.use.ranges), human_size(row.use.discarded_bytes),
                             human_size(row.use.reused_bytes), mib_s_text(row.use.away_mib_s),
                             mib_s_text(row.net_mib_s)));
    }
  }
}

} // namespace

std::vector<std::string> trace_losses(const RunStats::Trace& trace) {
  std::vector<std::string> losses;
  if (!trace.records.why.empty()) {
    losses.push_back(
        fmt::format("{} records lost: {}", grouped(trace.records.lost_records), trace.records.why));
  }
  if (trace.lost_guest_events != 0) {
    losses.push_back(fmt::format("{} events of the guest lost: its ring was full",
                                 grouped(trace.lost_guest_events)));
  }
  return losses;
}

// The calls that a program made most often, as many as fit into a line behind `line`.
std::string with_most(std::string line, const std::vector<ProgramCalls::Call>& calls) {
  std::size_t shown = 0;
  for (const ProgramCalls::Call& call : calls) {
    std::string next =
        fmt::format("{} {} {}", shown == 0 ? "" : ",", call.name, grouped(call.times));
    if (line.size() + next.size() > most_columns - 5) {
      return line + ", ...";
    }
    line += next;
    ++shown;
  }
  return line;
}

std::vector<std::string> program_lines(const RunStats& stats, const ProgramCalls& program) {
  std::uint64_t made = 0;
  for (const auto* const list : {&program.made, &program.missing}) {
    for (const ProgramCalls::Call& call : *list) {
      made += call.times;
    }
  }
  std::vector<std::string> lines{fmt::format(
      "  {}: {}, {} system calls, {} requests to the host's files", shortened(stats.workload),
      human_duration(stats.memory.seconds), grouped(made), grouped(program.left))};
  if (!program.made.empty()) {
    lines.push_back(with_most("    calls:", program.made));
  }
  if (!program.missing.empty()) {
    lines.push_back(with_most("    missing:", program.missing));
  }
  return lines;
}

std::string render_summary(const RunStats& stats) {
  const auto& hints = stats.hints;
  const auto& memory = stats.memory;
  Table table;
  table.line("");
  if (stats.program) {
    for (const std::string& line : program_lines(stats, *stats.program)) {
      table.line(line);
    }
  } else {
    table.line(fmt::format("  {}: {}, {} events, {} pages verified", shortened(stats.workload),
                           human_duration(memory.seconds), grouped(stats.last.guest.events),
                           grouped(stats.last.guest.verified_pages)));
  }
  if (const auto behind_ns = stats.behind_ns()) {
    table.line(
        fmt::format("  at most {} behind the recorded times", human_duration_ns(*behind_ns)));
  }
  table.line(fmt::format("  {} RAM ({}), {}", human_size(memory.guest_bytes), memory.backing,
                         policy_text(stats, stats.report.policy, chosen(stats.report.automatic))));
  if (const ReportChanges& changes = stats.report_changes; changes.count != 0) {
    const ReportSettings& settings = changes.last.back().settings;
    table.line(fmt::format("  re-tuned {} time{}; at the end:", grouped(changes.count),
                           changes.count == 1 ? "" : "s"));
    table.line(
        fmt::format("    {}", policy_text(stats, settings.policy, chosen(settings.automatic))));
  }
  if (stats.pressure && stats.pressure->times != 0) {
    table.line(fmt::format("  memory was short {} time{}, for {}", grouped(stats.pressure->times),
                           stats.pressure->times == 1 ? "" : "s",
                           human_duration_ns(stats.pressure->ns)));
  }
  table.line("");
  table.heading("Hints", "Host memory behind guest RAM");
  table.row("batches", grouped(hints.batches), "peak", or_dash(memory.rss_peak_bytes, human_size));
  table.row("ranges", grouped(hints.ranges), "final",
            or_dash(stats.settled.resident_bytes, human_size));
  table.row("hinted", human_size(hints.bytes), "peak of live memory",
            or_dash(memory.live_peak_bytes, human_size));
  table.row("discarded", human_size(hints.discarded_bytes), "settled after",
            or_dash(stats.settled.after_ns, human_duration_ns));
  table.row("declined", human_size(hints.declined_bytes), "resident integral",
            mib_s_text(memory.rss_mib_s));
  table.row("redundant", human_size(stats.guest.redundant_bytes), "live integral",
            mib_s_text(memory.live_mib_s));
  table.row("failed ranges", grouped(hints.failed_ranges), "footprint ratio",
            ratio_text(memory.footprint_ratio()));
  const auto unreported = memory.unreported_ratio();
  table.row("host time", human_duration_ns(hints.host_ns), unreported ? "  without reporting" : "",
            unreported ? fmt::format("{} (model)", ratio_text(unreported)) : "");
  const auto boot_ns = stats.times.boot_ns();
  table.row("exits", grouped(stats.exits.exits), boot_ns ? "boot time" : "",
            boot_ns ? human_duration_ns(*boot_ns) : "");
  table.row("doorbells", grouped(hints.doorbells), "exit status",
            fmt::format("{}", stats.exit_status));
  add_allocator(table, stats);
  add_refusal(table, hints);
  add_asynchronous(table, stats);
  add_ledger(table, stats);
  if (stats.trace && !stats.trace->complete()) {
    table.line("");
    table.line("  The trace is not complete");
    for (const std::string& loss : trace_losses(*stats.trace)) {
      table.line("    " + loss);
    }
  }
  if (!memory.missing.empty()) {
    table.line("");
    table.line(fmt::format("  Not measured: {}.", memory.missing));
  }
  if (stats.failures.count != 0) {
    table.line("");
    table.line(fmt::format("  {} measurements of resident memory failed; the last value stood in.",
                           grouped(stats.failures.count)));
  }
  return table.take();
}

} // namespace vmm
