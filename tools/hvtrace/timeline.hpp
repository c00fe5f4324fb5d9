// SPDX-License-Identifier: MIT
// A trace as what trace viewers show: slices and instants on tracks, counters, flows from a batch's
// submission through its discard to answer and drain. Slices of one track never overlap, and each
// is told whole, so no viewer's rule of pairing can make another duration of it than was recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

struct TrackId {
  enum class Kind : std::uint8_t {
    vcpu,    // instants; number: the vCPU
    waiting, // batches from their submission until the host takes them; number: vCPU and lane
    worker,  // discards of one processor of the host; number: processor and lane
    counter,
  };
  Kind kind = Kind::vcpu;
  std::uint32_t number = 0; // unique within its kind

  auto operator<=>(const TrackId&) const = default;
};

struct Track {
  TrackId id;
  std::string name;
};

// How an event belongs to the way of a batch.
struct Flow {
  enum class Step : std::uint8_t { starts, passes, ends };
  std::uint64_t id = 0; // 0: to none
  Step step = Step::passes;
};

struct Slice {
  TrackId track;
  std::uint64_t begin_ns = 0; // since the start of the trace, as all times here
  std::optional<std::uint64_t>
      end_ns; // not before begin_ns; empty: it was open when the trace ended
  std::string name;
  Flow flow;
  std::uint64_t bytes = 0; // 0: not shown
};

struct Instant {
  TrackId track;
  std::uint64_t time_ns = 0;
  std::string name;
  Flow flow;
  std::uint64_t bytes = 0; // 0: not shown
};

struct CounterValue {
  TrackId track;
  std::uint64_t time_ns = 0;
  std::uint64_t value = 0;
};

struct TimelineSink {
  std::function<void(const Track&)> track; // each once, before what is on it
  std::function<void(const Slice&)> slice; // those of one track in order of time
  std::function<void(const Instant&)> instant;
  std::function<void(const CounterValue&)> counter;
};

void make_timeline(const TraceSource& source, const TimelineSink& sink);

} // namespace hvtrace
