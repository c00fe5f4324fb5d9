// SPDX-License-Identifier: MIT
// `hvtrace step`: on a terminal a screen that follows keys, elsewhere a script on standard input,
// each line a command, each followed by its screen.
#pragma once

#include "vmm/base/result.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

// Until it is left or input ends. Returns the exit status.
vmm::Result<int> run_session(const TraceSource& source, const vmm::Symbols& symbols);

} // namespace hvtrace
