// SPDX-License-Identifier: MIT
// What can be watched of a running guest, one row a number: names with units, help, and where in
// the statistics it is. Names are part of the interface: rows are added, never renamed. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vmm/base/json.hpp"
#include "vmm/report/stats.hpp"

namespace vmm {

enum class MetricType : std::uint8_t {
  counter, // only grows
  gauge,
};

struct Metric {
  std::string_view name;
  MetricType type;
  std::string_view help;                // one sentence
  Json (*value)(const RunStats& stats); // a number; null: not measured
};

// In the order in which they are shown.
[[nodiscard]] std::span<const Metric> metrics();

// Prometheus' text format (version 0.0.4), which ends in a newline. What was not measured is left
// out.
[[nodiscard]] std::string prometheus_text(const RunStats& stats);

// All of it as one line of JSON, by the same names, with the time of day in front; without a
// newline. What was not measured is null.
[[nodiscard]] std::string metrics_line(const RunStats& stats, double unix_seconds);

} // namespace vmm
