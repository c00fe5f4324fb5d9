// SPDX-License-Identifier: MIT
// The table at the end of a run. Pure.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/stats.hpp"

namespace vmm {

// Several lines, each ended by a newline and at most 80 columns wide.
std::string render_summary(const RunStats& stats);

// What a trace lacks and why, a line each; none when it is complete.
[[nodiscard]] std::vector<std::string> trace_losses(const RunStats::Trace& trace);

} // namespace vmm
