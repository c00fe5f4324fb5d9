// SPDX-License-Identifier: MIT
// What a trace is: the run, the level, whether it is whole; and what check found.
#pragma once

#include <string>

#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/trace_file.hpp"

namespace hvtrace {

[[nodiscard]] std::string render_info(const TraceFile& trace);
[[nodiscard]] std::string render_check(const CheckResult& result);

} // namespace hvtrace
