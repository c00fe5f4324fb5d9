// SPDX-License-Identifier: MIT
// Exported timelines, read back as viewers of each format read them: by time, and by the format's
// own rule of which end belongs to which beginning. Each batch must come out with the duration that
// was recorded, however many are on their way at once.
#include "tools/hvtrace/timeline.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/export.hpp"
#include "tools/hvtrace/perfetto.pb.h"
#include "tools/hvtrace/trace_file.hpp"
#include "tools/hvtrace/track_lanes.hpp"

using abi::TraceEvent;

namespace {

// By insertion: std::stable_sort of this library uses what C++17 has deprecated.
template <typename T> void sort_stably(std::vector<T>& items, std::uint64_t T::*time_ns) {
  for (auto item = items.begin(); item != items.end(); ++item) {
    const auto place = std::ranges::upper_bound(items.begin(), item, (*item).*time_ns, {}, time_ns);
    std::rotate(place, item, std::next(item));
  }
}

constexpr std::uint64_t start_ns = 5'000'000'123'457;

struct Span {
  std::uint64_t begin_ns = 0, duration_ns = 0;
  auto operator<=>(const Span&) const = default;
};
// By name: names of these tests are unique.
using Spans = std::map<std::string, Span>;

// A trace and what it says of each batch.
class Recorded {
 public:
  void add(std::uint64_t time_ns, abi::TraceRecord record) {
    record.time_ns = time_ns;
    records_.push_back(record);
  }
  // Submitted, taken, discarded by a processor of the host, answered and drained.
  void batch(std::uint8_t channel, std::uint64_t id, std::uint8_t lane, std::uint64_t submit_ns,
             std::uint64_t taken_ns, std::uint64_t discard_ns, std::uint64_t discarded_ns) {
    add(submit_ns, {.value = id, .count = 1, .event = TraceEvent::submit, .channel = channel});
    add(taken_ns, {.value = id, .count = 1, .event = TraceEvent::batch, .channel = channel});
    add(discard_ns, {.address = 4096,
                     .value = id,
                     .event = TraceEvent::discard_begin,
                     .channel = channel,
                     .order = lane});
    add(discarded_ns,
        {.value = id, .event = TraceEvent::discard_end, .channel = channel, .order = lane});
    add(discarded_ns + 10, {.value = id, .event = TraceEvent::answer, .channel = channel});
    add(discarded_ns + 20, {.value = id, .event = TraceEvent::drain, .channel = channel});
    spans["submit batch " + std::to_string(id)] = {submit_ns, taken_ns - submit_ns};
    spans["discard batch " + std::to_string(id)] = {discard_ns, discarded_ns - discard_ns};
  }

  [[nodiscard]] std::string exported(void (*how)(const hvtrace::TraceSource&,
                                                 const hvtrace::ProfileSamples&,
                                                 const hvtrace::ByteSink&)) const {
    auto records = records_;
    sort_stably(records, &abi::TraceRecord::time_ns);
    test_support::renumber(records);
    abi::TraceHeader header = test_support::trace_header(abi::TraceLevel::batches);
    header.vcpus = 2;
    header.start_ns = start_ns;
    header.start_realtime_ns = 7'000;
    header.start_boottime_ns = start_ns + 42;
    const auto bytes = test_support::trace_bytes(header, records);
    const auto file = hvtrace::TraceFile::parse(bytes, "t");
    REQUIRE(file.has_value());
    std::string out;
    how(*file, {}, [&out](std::string_view piece) { out += piece; });
    return out;
  }

  Spans spans;

 private:
  std::vector<abi::TraceRecord> records_;
};

struct Event {
  std::uint64_t time_ns = 0;
  std::string track;
  char phase = ' '; // B, E or X
  std::string name;
  std::uint64_t duration_ns = 0; // of X
};

// Both formats' rule: in order of time, of what happens at once in order of the file; an end closes
// the latest slice of its track that is open. A whole slice is what it says, if it lies in what is
// open around it or beside it.
struct Read {
  Spans spans;
  std::set<std::string> open;
};
Read pair_up(std::vector<Event> events) {
  sort_stably(events, &Event::time_ns);
  Read read;
  std::map<std::string, std::vector<Event>> open;
  std::map<std::string, std::uint64_t> busy_until;
  for (const Event& event : events) {
    if (event.phase == 'B') {
      open[event.track].push_back(event);
    } else if (event.phase == 'E') {
      REQUIRE_FALSE(open[event.track].empty());
      const Event begin = open[event.track].back();
      open[event.track].pop_back();
      read.spans[begin.name] = {begin.time_ns, event.time_ns - begin.time_ns};
    } else {
      CHECK(busy_until[event.track] <= event.time_ns);
      CHECK(open[event.track].empty());
      busy_until[event.track] = event.time_ns + event.duration_ns;
      read.spans[event.name] = {event.time_ns, event.duration_ns};
    }
  }
  for (const auto& [track, left] : open) {
    for (const Event& event : left) {
      read.open.insert(event.name);
    }
  }
  return read;
}

Read read_chrome(const Recorded& recorded) {
  const auto json = nlohmann::json::parse(recorded.exported(hvtrace::export_chrome));
  const auto ns = [](const nlohmann::json& us) {
    return static_cast<std::uint64_t>(std::llround(us.get<double>() * 1000));
  };
  CHECK(json.at("metadata").at("clock-domain") == "LINUX_CLOCK_MONOTONIC");
  CHECK(json.at("metadata").at("start-boottime-ns") == start_ns + 42);
  std::vector<Event> events;
  for (const auto& event : json.at("traceEvents")) {
    const std::string phase = event.at("ph");
    if (phase == "B" || phase == "E" || phase == "X") {
      events.push_back({.time_ns = ns(event.at("ts")) - start_ns,
                        .track = event.at("pid").dump() + "/" + event.at("tid").dump(),
                        .phase = phase[0],
                        .name = event.value("name", ""),
                        .duration_ns = phase == "X" ? ns(event.at("dur")) : 0});
    }
  }
  return pair_up(events);
}

Read read_perfetto(const Recorded& recorded) {
  namespace protos = perfetto::protos;
  protos::Trace trace;
  REQUIRE(trace.ParseFromString(recorded.exported(hvtrace::export_perfetto)));
  // Before anything that needs it.
  REQUIRE(trace.packet(0).has_clock_snapshot());
  std::map<std::uint32_t, std::uint64_t> clocks;
  for (const auto& clock : trace.packet(0).clock_snapshot().clocks()) {
    clocks[clock.clock_id()] = clock.timestamp();
  }
  CHECK(clocks ==
        std::map<std::uint32_t, std::uint64_t>{{protos::BUILTIN_CLOCK_REALTIME, 7'000},
                                               {protos::BUILTIN_CLOCK_MONOTONIC, start_ns},
                                               {protos::BUILTIN_CLOCK_BOOTTIME, start_ns + 42}});
  std::vector<Event> events;
  for (const protos::TracePacket& packet : trace.packet()) {
    if (!packet.has_track_event()) {
      continue;
    }
    CHECK(clocks.contains(packet.timestamp_clock_id()));
    const protos::TrackEvent& event = packet.track_event();
    const bool begins = event.type() == protos::TrackEvent::TYPE_SLICE_BEGIN;
    if (begins || event.type() == protos::TrackEvent::TYPE_SLICE_END) {
      events.push_back({.time_ns = packet.timestamp() - start_ns,
                        .track = std::to_string(event.track_uuid()),
                        .phase = begins ? 'B' : 'E',
                        .name = event.name()});
    }
  }
  return pair_up(events);
}

void check(const Recorded& recorded, const std::set<std::string>& open = {}) {
  for (const Read& read : {read_chrome(recorded), read_perfetto(recorded)}) {
    CHECK(read.spans == recorded.spans);
    CHECK(read.open == open);
  }
}

} // namespace

TEST_CASE("timeline: one batch after the other") {
  Recorded recorded;
  recorded.batch(0, 1, 0, 1'000, 2'001, 3'000, 4'001);
  recorded.batch(0, 2, 0, 4'001, 4'001, 4'001, 4'001); // touches the first, and takes no time
  recorded.batch(0, 3, 0, 4'001, 5'000, 5'000, 5'007);
  check(recorded);
}

TEST_CASE("timeline: batches of one channel overlap, in and out of order") {
  Recorded recorded;
  recorded.batch(0, 19, 0, 1'000, 74'000, 75'000, 80'000);
  recorded.batch(0, 20, 1, 2'000, 368'000, 370'000, 380'000); // around what comes after it
  recorded.batch(0, 21, 0, 3'000, 90'000, 91'000, 92'000);
  recorded.batch(1, 22, 2, 3'000, 100'000, 100'000, 400'000); // another channel, meanwhile
  recorded.batch(0, 23, 0, 90'000, 368'000, 368'000, 369'000);
  check(recorded);
}

TEST_CASE("timeline: any number of batches on their way, by random times") {
  std::mt19937_64 random(7); // NOLINT(cert-msc51-cpp): the same each time
  const auto below = [&random](std::uint64_t bound) { return random() % bound; };
  for (unsigned round = 0; round < 50; ++round) {
    Recorded recorded;
    std::uint64_t free_ns[4] = {}; // a processor discards one batch at a time
    for (std::uint64_t id = 1; id <= 60; ++id) {
      const auto lane = static_cast<std::uint8_t>(below(4));
      const std::uint64_t submit = below(20'000);
      const std::uint64_t taken = submit + below(5'000);
      const std::uint64_t begin = std::max(taken, free_ns[lane]) + below(300);
      free_ns[lane] = begin + below(500) + 1;
      recorded.batch(static_cast<std::uint8_t>(below(2)), id, lane, submit, taken, begin,
                     free_ns[lane]);
    }
    check(recorded);
  }
}

TEST_CASE("timeline: what did not end stays open, and closes nothing else") {
  Recorded recorded;
  recorded.batch(0, 1, 0, 1'000, 2'000, 3'000, 4'000);
  recorded.add(1'500, {.value = 2, .count = 1, .event = TraceEvent::submit}); // never taken
  recorded.add(1'600, {.value = 3, .count = 1, .event = TraceEvent::submit}); // nor this
  // An end without its begin, as where a ring begins; and a begin without its end.
  recorded.add(500, {.value = 9, .event = TraceEvent::discard_end, .order = 0});
  recorded.add(4'500, {.value = 4, .event = TraceEvent::discard_begin, .order = 0});
  recorded.add(4'600, {.value = 5, .event = TraceEvent::discard_begin, .order = 0});
  recorded.add(4'700, {.value = 5, .event = TraceEvent::discard_end, .order = 0});
  recorded.spans["discard batch 5"] = {4'600, 100};
  recorded.add(5'000, {.value = 6, .event = TraceEvent::discard_begin, .order = 3});
  check(recorded, {"submit batch 2", "submit batch 3", "discard batch 6"});
}

TEST_CASE("timeline: a trace of a version that did not know the time since boot") {
  namespace protos = perfetto::protos;
  const auto bytes = test_support::trace_bytes(test_support::trace_header(abi::TraceLevel::all),
                                               test_support::orderly_run());
  const auto file = hvtrace::TraceFile::parse(bytes, "t");
  std::string out;
  hvtrace::export_perfetto(*file, {}, [&out](std::string_view piece) { out += piece; });
  protos::Trace trace;
  REQUIRE(trace.ParseFromString(out));
  // A viewer that were to convert to the time since boot could not, and would leave events out.
  CHECK(trace.packet(0).clock_snapshot().primary_trace_clock() == protos::BUILTIN_CLOCK_MONOTONIC);
  CHECK(trace.packet(0).clock_snapshot().clocks_size() == 2);
}

TEST_CASE("timeline: lanes are reused, and there is an end to them") {
  hvtrace::TrackLanes lanes;
  CHECK(lanes.place(10, 20) == 0U);
  CHECK(lanes.place(15, 30) == 1U);
  CHECK(lanes.place(20, 25) == 0U);
  CHECK(lanes.place(40, hvtrace::TrackLanes::open_end) == 0U);
  CHECK(lanes.place(50, 60) == 1U);
  for (std::uint32_t lane = 2; lane < hvtrace::TrackLanes::most; ++lane) {
    CHECK(lanes.place(0, hvtrace::TrackLanes::open_end) == lane);
  }
  CHECK_FALSE(lanes.place(0, 1).has_value());
}
