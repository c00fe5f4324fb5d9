// SPDX-License-Identifier: MIT
// Records as lines of text.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "tools/hvtrace/filter.hpp"
#include "tools/hvtrace/trace_source.hpp"
#include "vmm/symbols.hpp"

namespace hvtrace {

// Hands the lines of all records that match to `sink`, in large pieces.
void list(const TraceSource& source, const std::optional<Filter>& filter,
          const vmm::Symbols& symbols, const std::function<void(std::string_view)>& sink);

} // namespace hvtrace
