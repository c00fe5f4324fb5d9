// SPDX-License-Identifier: MIT
// The guest's event ring, from both ends.
#include "vmm/record/guest_events.hpp"

#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/reporting/event_writer.hpp"

using abi::GuestEvent;
using abi::TraceEvent;
using abi::TraceLevel;
using guest::mm::EventWriter;
using vmm::GuestEvents;

namespace {

std::vector<GuestEvent> drain(GuestEvents& events) {
  std::vector<GuestEvent> taken;
  events.drain([&taken](const GuestEvent& event) { taken.push_back(event); });
  return taken;
}

} // namespace

TEST_CASE("event ring: what the guest writes the host reads, in order") {
  const auto ring = std::make_unique<abi::EventRing>();
  EventWriter trace(ring.get(), TraceLevel::all);
  GuestEvents events(*ring);
  trace.set_caller(2, 0x400123);
  trace.allocated(2, {0x100}, {3}, 5);
  trace.freed(2, {0x100}, {3});
  trace.unused(2, {0x200}, {0}, 1);
  trace.submitted(2, 77, 12);
  trace.drained(2, 77, 12);
  trace.quarantined(2, 78);
  const auto taken = drain(events);
  REQUIRE(taken.size() == 6);
  CHECK(taken[0].event == TraceEvent::allocate);
  CHECK(taken[0].address == 0x100000);
  CHECK(taken[0].value == 0x400123);
  CHECK(taken[0].count == 5);
  CHECK(taken[0].order == 3);
  CHECK(taken[0].channel == 2);
  CHECK(taken[3].event == TraceEvent::submit);
  CHECK(taken[3].address == 0x400123);
  CHECK(taken[3].value == 77);
  CHECK(taken[5].event == TraceEvent::quarantine);
  CHECK(drain(events).empty());
  CHECK(events.take_lost() == 0);
}

TEST_CASE("event ring: each level has its events, and off has none") {
  const auto count = [](TraceLevel level) {
    const auto ring = std::make_unique<abi::EventRing>();
    EventWriter trace(ring.get(), level);
    trace.allocated(0, {1}, {0}, 0);
    trace.allocated(0, {1}, {0}, 1);
    trace.freed(0, {1}, {0});
    trace.submitted(0, 1, 1);
    trace.drained(0, 1, 1);
    return ring->tail;
  };
  CHECK(count(TraceLevel::off) == 0);
  CHECK(count(TraceLevel::batches) == 2);
  CHECK(count(TraceLevel::ranges) == 3);
  CHECK(count(TraceLevel::all) == 5);
  CHECK_FALSE(EventWriter().on());
  CHECK_FALSE(EventWriter(nullptr, TraceLevel::all).on());
}

TEST_CASE("event ring: a full ring loses the newest and counts them, then goes on") {
  const auto ring = std::make_unique<abi::EventRing>();
  EventWriter trace(ring.get(), TraceLevel::all);
  GuestEvents events(*ring);
  for (std::uint64_t id = 0; id < abi::event_ring_entries + 10; ++id) {
    trace.drained(0, id, 1);
  }
  CHECK(trace.nearly_full());
  const auto taken = drain(events);
  CHECK(taken.size() == abi::event_ring_entries);
  CHECK(taken.back().value == abi::event_ring_entries - 1);
  CHECK(events.take_lost() == 10);
  CHECK(events.take_lost() == 0);
  CHECK_FALSE(trace.nearly_full());
  trace.drained(0, 999, 1);
  CHECK(drain(events).at(0).value == 999);
}

// What is lost at a level that the guest never rings for is lost in every ordinary run.
TEST_CASE("event ring: at every level the guest knows when the host should look") {
  for (const TraceLevel level : {TraceLevel::batches, TraceLevel::ranges, TraceLevel::all}) {
    const auto ring = std::make_unique<abi::EventRing>();
    EventWriter trace(ring.get(), level);
    for (std::uint64_t id = 0; id < abi::event_ring_entries * 3 / 4; ++id) {
      CHECK_FALSE(trace.nearly_full());
      trace.drained(0, id, 1);
    }
    CHECK(trace.nearly_full());
  }
  CHECK_FALSE(EventWriter().nearly_full());
}

TEST_CASE("event ring: indices may wrap around 2^64") {
  const auto ring = std::make_unique<abi::EventRing>();
  ring->tail = ring->head = ~std::uint64_t{0} - 3;
  EventWriter trace(ring.get(), TraceLevel::all);
  GuestEvents events(*ring);
  static_cast<void>(drain(events)); // a tail the host cannot believe: it starts there
  for (std::uint64_t id = 0; id < 8; ++id) {
    trace.drained(0, id, 1);
  }
  const auto taken = drain(events);
  REQUIRE(taken.size() == 8);
  CHECK(taken[7].value == 7);
}

TEST_CASE("event ring: a hostile guest costs bounded work and passes nothing on") {
  const auto ring = std::make_unique<abi::EventRing>();
  GuestEvents events(*ring);
  ring->tail = ~std::uint64_t{0};
  CHECK(drain(events).empty());
  CHECK(events.take_lost() == 1);
  // The host's own events, unknown ones, channels and orders that do not exist.
  const std::uint64_t start = ring->tail;
  const auto put = [&ring](GuestEvent event) {
    ring->events[ring->tail++ % abi::event_ring_entries] = event;
  };
  put({.event = TraceEvent::answer});
  put({.event = static_cast<TraceEvent>(200)});
  put({.event = TraceEvent::free, .channel = EBB_MAX_VCPUS});
  put({.event = TraceEvent::free, .order = abi::max_order + 1});
  put({.event = TraceEvent::none});
  put({.event = TraceEvent::free});
  CHECK(drain(events).size() == 1);
  CHECK(events.take_lost() == 5);
  // Backwards.
  ring->tail = start;
  CHECK(drain(events).empty());
  CHECK(events.take_lost() == 1);
  // Losses that shrink are no losses.
  ring->lost = 100;
  CHECK(events.take_lost() == 100);
  ring->lost = 50;
  CHECK(events.take_lost() == 0);
}
