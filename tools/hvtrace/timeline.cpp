// SPDX-License-Identifier: MIT
#include "tools/hvtrace/timeline.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "tools/hvtrace/track_lanes.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/open_batches.hpp"

namespace hvtrace {
namespace {

using abi::TraceEvent;

enum CounterTrack : std::uint32_t {
  resident,
  live,
  fresh,
  reported,
  isolated,
  cached,
  batches_in_flight,
};
constexpr std::array<std::string_view, 7> counter_names{
    "resident", "live",           "free, not reported", "free, reported",
    "isolated", "in page caches", "batches in flight"};

std::uint64_t flow_of(const abi::TraceRecord& record) {
  return (std::uint64_t{record.channel} + 1) << 48 ^ record.value;
}

std::string_view name_of(TraceEvent event) {
  for (const abi::TraceEventText& text : abi::trace_event_texts) {
    if (text.event == event) {
      return text.name;
    }
  }
  return "?";
}

// A batch between its submission, or the moment at which it was taken, and its answer.
struct Flight {
  std::optional<std::uint64_t> submit_ns; // empty: not told
  bool taken = false;
};

class Timeline {
 public:
  explicit Timeline(const TimelineSink& sink) : sink_(sink) {}

  void take(const abi::TraceRecord& record) {
    switch (record.event) {
    case TraceEvent::submit:
      flights_.open(record) = {.submit_ns = record.time_ns};
      count_in_flight(record.time_ns);
      break;
    case TraceEvent::batch:
      taken(record);
      break;
    case TraceEvent::discard_begin:
      discard_begin(record);
      break;
    case TraceEvent::discard_end:
      discard_end(record);
      break;
    case TraceEvent::answer:
      instant(record, fmt::format("answer to batch {}", record.value), 0, {flow_of(record)});
      flights_.close(record);
      count_in_flight(record.time_ns);
      break;
    case TraceEvent::drain:
      instant(record, fmt::format("drain batch {}", record.value), 0,
              {flow_of(record), Flow::Step::ends});
      break;
    case TraceEvent::resident:
      counter(resident, record.time_ns, record.address);
      counter(live, record.time_ns, record.value);
      break;
    case TraceEvent::free_memory:
      counter(fresh, record.time_ns, record.address);
      counter(reported, record.time_ns, record.value);
      break;
    case TraceEvent::held_memory:
      counter(isolated, record.time_ns, record.address);
      counter(cached, record.time_ns, record.value);
      break;
    case TraceEvent::refault:
      instant(record, "refault", record.value);
      break;
    case TraceEvent::boot:
    case TraceEvent::negotiated:
    case TraceEvent::doorbell:
    case TraceEvent::workload_begin:
    case TraceEvent::workload_end:
    case TraceEvent::quarantine:
      instant(record, std::string(name_of(record.event)));
      break;
    case TraceEvent::continued:
    case TraceEvent::mode:
    case TraceEvent::fault:
    case TraceEvent::end:
    case TraceEvent::hypercall:
      instant(record, fmt::format("{} {}", name_of(record.event), detail_name(record)));
      break;
    default:
      break;
    }
  }

  // What began and was not seen to end.
  void finish() {
    for (const auto& [key, flight] : flights_) {
      if (!flight.taken && flight.submit_ns) {
        const auto& [channel, batch] = key;
        place(TrackId::Kind::waiting, channel,
              {.track = {},
               .begin_ns = *flight.submit_ns,
               .end_ns = std::nullopt,
               .name = fmt::format("submit batch {}", batch),
               .flow = {}});
      }
    }
    for (auto& discard : discards_) {
      if (discard) {
        place(TrackId::Kind::worker, discard->order, discard_slice(*discard, std::nullopt));
      }
    }
  }

 private:
  void taken(const abi::TraceRecord& record) {
    Flight& flight = flights_.open(record);
    const Flow starts{flow_of(record), Flow::Step::starts};
    if (flight.submit_ns && !flight.taken) {
      place(TrackId::Kind::waiting, record.channel,
            {.track = {},
             .begin_ns = std::min(*flight.submit_ns, record.time_ns),
             .end_ns = record.time_ns,
             .name = fmt::format("submit batch {}", record.value),
             .flow = starts});
    } else {
      instant(record, fmt::format("take batch {}", record.value), 0, starts);
    }
    flight.taken = true;
    count_in_flight(record.time_ns);
  }

  static Slice discard_slice(const abi::TraceRecord& begin, std::optional<std::uint64_t> end_ns) {
    return {.track = {},
            .begin_ns = begin.time_ns,
            .end_ns = end_ns ? std::max(begin.time_ns, *end_ns) : end_ns,
            .name = fmt::format("discard batch {}", begin.value),
            .flow = {flow_of(begin)},
            .bytes = begin.address};
  }
  void discard_begin(const abi::TraceRecord& record) {
    auto& discard = discards_[record.order];
    if (discard) {
      lost_end(*discard);
    }
    discard = record;
  }
  void discard_end(const abi::TraceRecord& record) {
    auto& discard = discards_[record.order];
    // An end without its begin (in a ring that wrapped) would end something else.
    if (discard && discard->channel == record.channel && discard->value == record.value) {
      place(TrackId::Kind::worker, record.order, discard_slice(*discard, record.time_ns));
      discard.reset();
    }
  }
  void lost_end(const abi::TraceRecord& begin) {
    instant(begin, fmt::format("discard batch {}, whose end is missing", begin.value),
            begin.address);
  }

  // `row`: the vCPU or the processor of the host.
  void place(TrackId::Kind kind, std::uint32_t row, Slice slice) {
    const auto lane =
        lanes_[{kind, row}].place(slice.begin_ns, slice.end_ns.value_or(TrackLanes::open_end));
    if (!lane) {
      slice.track = {kind, row * static_cast<std::uint32_t>(TrackLanes::most)};
      sink_.instant({.track = slice.track,
                     .time_ns = slice.begin_ns,
                     .name = slice.name + ", one of too many at once",
                     .flow = slice.flow,
                     .bytes = slice.bytes});
      return;
    }
    slice.track = {kind, row * static_cast<std::uint32_t>(TrackLanes::most) + *lane};
    tell_track(slice.track, row, *lane);
    sink_.slice(slice);
  }
  void instant(const abi::TraceRecord& record, std::string name, std::uint64_t bytes = 0,
               Flow flow = {}) {
    const TrackId track{TrackId::Kind::vcpu, record.channel};
    tell_track(track, record.channel, 0);
    sink_.instant({.track = track,
                   .time_ns = record.time_ns,
                   .name = std::move(name),
                   .flow = flow,
                   .bytes = bytes});
  }
  void counter(CounterTrack which, std::uint64_t time_ns, std::uint64_t value) {
    const TrackId track{TrackId::Kind::counter, which};
    tell_track(track, which, 0);
    sink_.counter({.track = track, .time_ns = time_ns, .value = value});
  }
  void count_in_flight(std::uint64_t time_ns) {
    counter(batches_in_flight, time_ns, flights_.size());
  }

  void tell_track(TrackId id, std::uint32_t row, std::uint32_t lane) {
    const auto [known, is_new] = told_.insert(id);
    if (!is_new) {
      return;
    }
    const std::string number = lane == 0 ? std::string() : fmt::format(", {} at once", lane + 1);
    switch (id.kind) {
    case TrackId::Kind::vcpu:
      sink_.track({id, fmt::format("vCPU {}", row)});
      break;
    case TrackId::Kind::waiting:
      sink_.track({id, fmt::format("vCPU {}, submitted{}", row, number)});
      break;
    case TrackId::Kind::worker:
      sink_.track({id, fmt::format("host worker {}{}", row, number)});
      break;
    case TrackId::Kind::counter:
      sink_.track({id, std::string(counter_names.at(row))});
      break;
    }
  }

  const TimelineSink& sink_;
  OpenBatches<Flight> flights_;
  // The begins that wait for their ends, by processor of the host.
  std::array<std::optional<abi::TraceRecord>, 256> discards_{};
  std::map<std::pair<TrackId::Kind, std::uint32_t>, TrackLanes> lanes_;
  std::set<TrackId> told_;
};

} // namespace

void make_timeline(const TraceSource& source, const TimelineSink& sink) {
  Timeline timeline(sink);
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      timeline.take(*record);
    }
  }
  timeline.finish();
}

} // namespace hvtrace
