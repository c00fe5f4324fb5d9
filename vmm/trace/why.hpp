// SPDX-License-Identifier: MIT
// The history of one page in plain sentences.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/base/symbols.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

// Everything the trace tells of the page at `gpa`, at most the last `limit` events of it, and what
// that makes of it at the end.
[[nodiscard]] std::string why(const TraceSource& source, std::uint64_t gpa,
                              const vmm::Symbols& symbols, std::size_t limit);

} // namespace hvtrace
