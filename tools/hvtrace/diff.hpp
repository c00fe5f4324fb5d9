// SPDX-License-Identifier: MIT
// What two runs did differently: totals side by side, and the first place where their hints part.
#pragma once

#include <string>

#include "vmm/base/symbols.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

struct DiffResult {
  std::string text;
  bool same = false; // the same hints and answers in the same order, whenever they happened
};

// Each with the symbols of its own image; either may be empty.
[[nodiscard]] DiffResult diff(const TraceSource& left, const vmm::Symbols& left_symbols,
                              const TraceSource& right, const vmm::Symbols& right_symbols);

} // namespace hvtrace
