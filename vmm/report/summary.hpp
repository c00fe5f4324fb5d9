// SPDX-License-Identifier: MIT
// The table at the end of a run. Pure.
#pragma once

#include <string>

#include "vmm/report/stats.hpp"

namespace vmm {

// Several lines, each ended by a newline and at most 80 columns wide.
std::string render_summary(const RunStats& stats);

} // namespace vmm
