// SPDX-License-Identifier: MIT
// A trace for other tools, in pieces to `sink`.
#pragma once

#include <functional>
#include <string_view>

#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

using ByteSink = std::function<void(std::string_view)>;

// Perfetto's own format: a protobuf Trace of TrackEvents (tools/hvtrace/perfetto.proto).
void export_perfetto(const TraceSource& source, const ByteSink& sink);
// The JSON of chrome://tracing.
void export_chrome(const TraceSource& source, const ByteSink& sink);
// One line a record, all fields as numbers, with a heading.
void export_csv(const TraceSource& source, const ByteSink& sink);

} // namespace hvtrace
