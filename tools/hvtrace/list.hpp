// SPDX-License-Identifier: MIT
// Records as lines of text.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "vmm/base/symbols.hpp"
#include "vmm/trace/filter.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

// Hands the lines of all records that match to `sink`, in large pieces. A filter that asks for
// latencies has them shown.
void list(const TraceSource& source, const std::optional<Filter>& filter,
          const vmm::Symbols& symbols, const std::function<void(std::string_view)>& sink);

} // namespace hvtrace
