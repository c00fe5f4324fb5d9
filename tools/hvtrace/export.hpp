// SPDX-License-Identifier: MIT
// A trace for other tools, in pieces to `sink`; beside it the samples of a profile, if there are
// any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "tools/hvtrace/profile_file.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

using ByteSink = std::function<void(std::string_view)>;
// What is exported goes to the sink as soon as it is as much as this.
inline constexpr std::size_t piece_bytes = std::size_t{64} << 10;

// The guest's process in what is exported: beyond Linux's largest (PID_MAX_LIMIT, 2^22), so that it
// is none of the host's own in a trace of the host that is put beside it.
inline constexpr std::int32_t guest_process_id = (1 << 22) + 1;

// Perfetto's own format: a protobuf Trace of TrackEvents, and of PerfSamples, whose threads are the
// vCPUs (tools/hvtrace/perfetto.proto).
void export_perfetto(const TraceSource& source, const ProfileSamples& samples,
                     const ByteSink& sink);
// The JSON of chrome://tracing, with its global samples. Times in us of the host's monotonic clock.
void export_chrome(const TraceSource& source, const ProfileSamples& samples, const ByteSink& sink);
// One line a record, all fields as numbers, with a heading.
void export_csv(const TraceSource& source, const ByteSink& sink);

} // namespace hvtrace
