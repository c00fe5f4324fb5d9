// SPDX-License-Identifier: MIT
#include "tools/hvtrace/timeline.hpp"

#include <array>
#include <bitset>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "vmm/trace/event_text.hpp"

namespace hvtrace {
namespace {

using abi::TraceEvent;
using Kind = TimelineEvent::Kind;

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

class Timeline {
 public:
  explicit Timeline(const TimelineSink& sink) : sink_(sink) {}

  void take(const abi::TraceRecord& record) {
    const std::pair key{record.channel, record.value};
    switch (record.event) {
    case TraceEvent::submit:
      remember(key, record.time_ns);
      count_in_flight(record.time_ns);
      break;
    case TraceEvent::batch: {
      const auto submitted = submitted_.find(key);
      const std::uint64_t since =
          submitted == submitted_.end() ? record.time_ns : submitted->second;
      if (submitted == submitted_.end()) {
        remember(key, record.time_ns);
        count_in_flight(record.time_ns);
      }
      const std::string name = fmt::format("submit batch {}", record.value);
      emit({.kind = Kind::begin,
            .track_number = record.channel,
            .time_ns = since,
            .name = name,
            .flow = flow_of(record)});
      emit({.kind = Kind::end,
            .track_number = record.channel,
            .time_ns = record.time_ns,
            .name = {}});
      break;
    }
    case TraceEvent::discard_begin:
      emit({.kind = Kind::begin,
            .track = Track::Kind::lane,
            .track_number = record.order,
            .time_ns = record.time_ns,
            .name = fmt::format("discard batch {}", record.value),
            .flow = flow_of(record),
            .bytes = record.address});
      discarding_[record.order] = true;
      break;
    case TraceEvent::discard_end:
      // Without its begin (a ring that wrapped) it would end something else.
      if (discarding_[record.order]) {
        discarding_[record.order] = false;
        emit({.kind = Kind::end,
              .track = Track::Kind::lane,
              .track_number = record.order,
              .time_ns = record.time_ns,
              .name = {}});
      }
      break;
    case TraceEvent::answer:
      emit({.kind = Kind::instant,
            .track_number = record.channel,
            .time_ns = record.time_ns,
            .name = fmt::format("answer to batch {}", record.value),
            .flow = flow_of(record)});
      submitted_.erase(key);
      count_in_flight(record.time_ns);
      break;
    case TraceEvent::drain:
      emit({.kind = Kind::instant,
            .track_number = record.channel,
            .time_ns = record.time_ns,
            .name = fmt::format("drain batch {}", record.value),
            .flow = flow_of(record),
            .flow_ends = true});
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
      instant(record, name_of(record.event), 0);
      break;
    case TraceEvent::mode:
    case TraceEvent::fault:
    case TraceEvent::end:
    case TraceEvent::hypercall:
      instant(record, fmt::format("{} {}", name_of(record.event), detail_name(record)), 0);
      break;
    default:
      break;
    }
  }

 private:
  static constexpr std::size_t max_open = 4096;

  static std::string_view name_of(TraceEvent event) {
    for (const abi::TraceEventText& text : abi::trace_event_texts) {
      if (text.event == event) {
        return text.name;
      }
    }
    return "?";
  }

  void emit(const TimelineEvent& event) { sink_.event(event); }
  void remember(const std::pair<std::uint8_t, std::uint64_t>& key, std::uint64_t time_ns) {
    if (submitted_.size() >= max_open) {
      submitted_.clear(); // only a damaged or hostile trace has as many
    }
    submitted_[key] = time_ns;
  }
  void instant(const abi::TraceRecord& record, std::string_view name, std::uint64_t bytes) {
    emit({.kind = Kind::instant,
          .track_number = record.channel,
          .time_ns = record.time_ns,
          .name = std::string(name),
          .bytes = bytes});
  }
  void counter(CounterTrack which, std::uint64_t time_ns, std::uint64_t value) {
    emit({.kind = Kind::counter,
          .track = Track::Kind::counter,
          .track_number = which,
          .time_ns = time_ns,
          .name = {},
          .value = value});
  }
  void count_in_flight(std::uint64_t time_ns) {
    counter(batches_in_flight, time_ns, submitted_.size());
  }

  const TimelineSink& sink_;
  std::map<std::pair<std::uint8_t, std::uint64_t>, std::uint64_t> submitted_;
  std::bitset<256> discarding_;
};

} // namespace

void make_timeline(const TraceSource& source, const TimelineSink& sink) {
  // A first look for the lanes there are; viewers want tracks before their events.
  std::bitset<256> lanes;
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    const auto record = source.at(number);
    if (record && record->event == TraceEvent::discard_begin) {
      lanes.set(record->order);
    }
  }
  for (std::uint32_t vcpu = 0; vcpu < source.header().vcpus; ++vcpu) {
    sink.track({Track::Kind::vcpu, vcpu, fmt::format("vCPU {}", vcpu)});
  }
  for (std::uint32_t lane = 0; lane < lanes.size(); ++lane) {
    if (lanes.test(lane)) {
      sink.track({Track::Kind::lane, lane, fmt::format("host worker {}", lane)});
    }
  }
  for (std::uint32_t counter = 0; counter < counter_names.size(); ++counter) {
    sink.track({Track::Kind::counter, counter, std::string(counter_names[counter])});
  }
  Timeline timeline(sink);
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      timeline.take(*record);
    }
  }
}

} // namespace hvtrace
