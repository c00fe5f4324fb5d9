// SPDX-License-Identifier: MIT
// What several runs of the same kind have measured: medians and quartiles of what the summary of
// one shows. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/report/stats.hpp"

namespace vmm {

// A number of the summary.
struct Figure {
  std::string_view label; // as there
  std::string_view key;   // where it is in the statistics: "memory.rss_peak_bytes"
  std::string (*show)(double value);
  std::optional<double> (*value)(const RunStats& stats); // empty: not measured
};

[[nodiscard]] std::span<const Figure> figures();

// One run, as it is handed from process to process.
struct RepeatedRun {
  std::vector<double> values; // of figures(); NaN: not measured
  std::string stats;          // as it goes into a file

  static RepeatedRun of(const RunStats& stats);
};

struct Quartiles {
  double lower = 0;
  double median = 0;
  double upper = 0;
  std::size_t count = 0; // of values that they are of

  // Between two values by the line between them. Empty of no values; NaN does not count.
  static std::optional<Quartiles> of(std::vector<double> values);
};

// What was run: the counted runs, and how many went before them, to warm up.
struct RepeatedRuns {
  std::span<const RepeatedRun> counted;
  std::size_t warm_up = 0;

  // Of `all` in the order in which they ran, of which up to `warm_up` do not count.
  static RepeatedRuns of(std::span<const RepeatedRun> all, std::size_t warm_up);
};

// The table: several lines of at most 80 columns.
[[nodiscard]] std::string render_repeated_runs(std::string_view what, RepeatedRuns runs);
// JSON of it all: each figure's quartiles by its key, what each counted run had to tell, and how
// many did not count.
[[nodiscard]] std::string repeated_runs_text(RepeatedRuns runs);

} // namespace vmm
