// SPDX-License-Identifier: MIT
#include "vmm/report/repeated_runs.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "vmm/base/append_text.hpp"
#include "vmm/base/json.hpp"
#include "vmm/base/units.hpp"
#include "vmm/base/version.hpp"

namespace vmm {
namespace {

using Stats = const RunStats&;
using Value = std::optional<double>;

std::uint64_t whole(double value) {
  return static_cast<std::uint64_t>(std::llround(value));
}
std::string count(double value) {
  return grouped(whole(value));
}
std::string size(double value) {
  return human_size(whole(value));
}
std::string duration(double seconds) {
  return human_duration(seconds);
}
std::string duration_ns(double ns) {
  return human_duration(ns / 1e9);
}
std::string mib_s(double value) {
  return fmt::format("{:.1f} MiB s", value);
}
std::string ratio(double value) {
  return fmt::format("{:.3f}", value);
}

template <typename Number> Value number(Number value) {
  return static_cast<double>(value);
}
template <typename Number> Value number(std::optional<Number> value) {
  return value ? Value(static_cast<double>(*value)) : std::nullopt;
}

constexpr std::array rows{
    Figure{"time", "workload.seconds", duration, [](Stats s) { return number(s.memory.seconds); }},
    Figure{"CPU time", "workload.cpu_seconds", duration,
           [](Stats s) { return number(s.times.used().cpu_seconds); }},
    Figure{"events", "workload.events", count, [](Stats s) { return number(s.last.guest.events); }},
    Figure{"boot time", "guest.boot_us", [](double us) { return human_duration(us / 1e6); },
           [](Stats s) {
             const auto ns = s.times.boot_ns();
             return ns ? Value(static_cast<double>(*ns) / 1e3) : std::nullopt;
           }},
    Figure{"batches", "hints.batches", count, [](Stats s) { return number(s.hints.batches); }},
    Figure{"ranges", "hints.ranges", count, [](Stats s) { return number(s.hints.ranges); }},
    Figure{"hinted", "hints.bytes", size, [](Stats s) { return number(s.hints.bytes); }},
    Figure{"discarded", "hints.discarded_bytes", size,
           [](Stats s) { return number(s.hints.discarded_bytes); }},
    Figure{"declined", "hints.declined_bytes", size,
           [](Stats s) { return number(s.hints.declined_bytes); }},
    Figure{"redundant", "hints.redundant_bytes", size,
           [](Stats s) { return number(s.guest.redundant_bytes); }},
    Figure{"failed ranges", "hints.failed_ranges", count,
           [](Stats s) { return number(s.hints.failed_ranges); }},
    Figure{"host time", "hints.host_ns", duration_ns,
           [](Stats s) { return number(s.hints.host_ns); }},
    Figure{"exits", "exits.total", count, [](Stats s) { return number(s.exits.exits); }},
    Figure{"doorbells", "hints.doorbells", count,
           [](Stats s) { return number(s.hints.doorbells); }},
    Figure{"peak", "memory.rss_peak_bytes", size,
           [](Stats s) { return number(s.memory.rss_peak_bytes); }},
    Figure{"final", "memory.rss_final_bytes", size,
           [](Stats s) { return number(s.settled.resident_bytes); }},
    Figure{"peak of live memory", "memory.live_peak_bytes", size,
           [](Stats s) { return number(s.memory.live_peak_bytes); }},
    Figure{"settled after", "memory.settle_ms", [](double ms) { return human_duration(ms / 1e3); },
           [](Stats s) {
             const auto ns = s.settled.after_ns;
             return ns ? Value(static_cast<double>(*ns) / 1e6) : std::nullopt;
           }},
    Figure{"resident integral", "memory.rss_mib_s", mib_s,
           [](Stats s) { return s.memory.rss_mib_s; }},
    Figure{"live integral", "memory.live_mib_s", mib_s,
           [](Stats s) { return s.memory.live_mib_s; }},
    Figure{"footprint ratio", "memory.footprint_ratio", ratio,
           [](Stats s) { return s.memory.footprint_ratio(); }},
    Figure{"without reporting (model)", "memory.unreported_footprint_ratio", ratio,
           [](Stats s) { return s.memory.unreported_ratio(); }},
    Figure{"net benefit", "ledger.net_mib_s", mib_s,
           [](Stats s) { return s.ledger ? s.ledger->net_mib_s : std::nullopt; }},
};

std::optional<Quartiles> quartiles_of(std::span<const RepeatedRun> runs, std::size_t figure) {
  std::vector<double> values;
  for (const RepeatedRun& run : runs) {
    values.push_back(run.values[figure]);
  }
  return Quartiles::of(std::move(values));
}

} // namespace

std::span<const Figure> figures() {
  return rows;
}

RepeatedRun RepeatedRun::of(const RunStats& stats) {
  RepeatedRun run;
  for (const Figure& figure : rows) {
    run.values.push_back(figure.value(stats).value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  run.stats = to_text(to_json(stats));
  return run;
}

std::optional<Quartiles> Quartiles::of(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) {
    return std::nullopt;
  }
  std::ranges::sort(values);
  const auto at = [&values](double part) {
    const double place = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  };
  return Quartiles{at(0.25), at(0.5), at(0.75), values.size()};
}

RepeatedRuns RepeatedRuns::of(std::span<const RepeatedRun> all, std::size_t warm_up) {
  const std::size_t uncounted = std::min(all.size(), warm_up);
  return {all.subspan(uncounted), uncounted};
}

std::string render_repeated_runs(std::string_view what, RepeatedRuns runs) {
  const std::size_t count = runs.counted.size();
  std::string text;
  append_text(text, "\n  {}: {} run{}", what, count, count == 1 ? "" : "s");
  if (runs.warm_up != 0) {
    append_text(text, ", after {} to warm up", runs.warm_up);
  }
  append_text(text, "\n\n  {:<28}{:>16}{:>16}{:>16}\n", "", "median", "lower quartile",
              "upper quartile");
  for (std::size_t index = 0; index < rows.size(); ++index) {
    const Figure& figure = rows[index];
    if (const auto found = quartiles_of(runs.counted, index)) {
      append_text(text, "    {:<26}{:>16}{:>16}{:>16}\n", figure.label, figure.show(found->median),
                  figure.show(found->lower), figure.show(found->upper));
    }
  }
  return text;
}

// What the runs tell is JSON already.
std::string repeated_runs_text(RepeatedRuns runs) {
  Json quartiles;
  for (std::size_t index = 0; index < rows.size(); ++index) {
    Json& figure = quartiles[rows[index].key];
    if (const auto found = quartiles_of(runs.counted, index)) {
      figure = {{"median", found->median},
                {"lower_quartile", found->lower},
                {"upper_quartile", found->upper},
                {"runs", found->count}};
    }
  }
  std::string text;
  append_text(text, "{{\n\"version\": {},\n\"warm_up\": {},\n\"figures\": {},\n\"runs\": [",
              Json(version).line(), runs.warm_up, quartiles.line());
  const char* before = "\n";
  for (const RepeatedRun& run : runs.counted) {
    text += std::exchange(before, ",\n");
    text += std::string_view(run.stats).substr(0, run.stats.find_last_of('}') + 1);
  }
  text += "\n]\n}\n";
  return text;
}

} // namespace vmm
