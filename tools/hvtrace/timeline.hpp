// SPDX-License-Identifier: MIT
// A trace as what trace viewers show: slices and instants on tracks, counters, flows from a batch's
// submission through its discard to answer and drain.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

struct Track {
  enum class Kind : std::uint8_t { vcpu, lane, counter };
  Kind kind = Kind::vcpu;
  std::uint32_t number = 0; // unique within its kind
  std::string name;
};

struct TimelineEvent {
  enum class Kind : std::uint8_t { begin, end, instant, counter };
  Kind kind = Kind::instant;
  Track::Kind track = Track::Kind::vcpu;
  std::uint32_t track_number = 0;
  std::uint64_t time_ns = 0;
  std::string name;        // not of counters and ends
  std::uint64_t value = 0; // of counters
  std::uint64_t flow = 0;  // not 0: passes through here
  bool flow_ends = false;  // here
  std::uint64_t bytes = 0; // not 0: shown with begin and instant
};

struct TimelineSink {
  std::function<void(const Track&)> track; // all of them, before the first event
  std::function<void(const TimelineEvent&)> event;
};

void make_timeline(const TraceSource& source, const TimelineSink& sink);

} // namespace hvtrace
