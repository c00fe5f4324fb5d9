// SPDX-License-Identifier: MIT
// The guest's event ring at EBB_EVENT_RING_GPA: what only the guest knows of a hint's life. Present
// when the host offers feature_trace and the guest accepts it.
//
// The guest writes under its page allocator's lock, so there is one ring for all vCPUs and its
// order is the order in which things happened to memory. The host takes events out at doorbells
// (a guest rings before it is full) and every few ms; a full ring loses events, which are counted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"
#include "shared/layout.h"
#include "shared/trace_record.hpp"

namespace abi {

// The fields mean what they mean in a TraceRecord of the same event.
struct GuestEvent {
  std::uint64_t tsc = 0; // the guest's time stamp counter
  std::uint64_t address = 0;
  std::uint64_t value = 0;
  std::uint32_t count = 0;
  TraceEvent event = TraceEvent::none;
  std::uint8_t channel = 0;
  std::uint8_t order = 0;
  std::uint8_t detail = 0;
};
static_assert(sizeof(GuestEvent) == 32);
static_assert(offsetof(GuestEvent, count) == 24);
static_assert(offsetof(GuestEvent, event) == 28);

inline constexpr std::uint32_t event_ring_entries = 8192;

// Indices run freely; the slot of index i is i % event_ring_entries.
struct EventRing {
  std::uint64_t tail = 0; // guest-written: events written
  std::uint64_t lost = 0; // guest-written: events for which there was no room
  std::uint64_t reserved1[6] = {};
  std::uint64_t head = 0; // host-written: events taken
  std::uint64_t reserved2[7] = {};
  std::uint8_t pad[page_bytes - 128] = {};
  GuestEvent events[event_ring_entries];
};
static_assert(offsetof(EventRing, lost) == 8);
static_assert(offsetof(EventRing, head) == 64);
static_assert(offsetof(EventRing, events) == page_bytes);
static_assert(sizeof(EventRing) == EBB_EVENT_RING_BYTES);
static_assert(EBB_CHANNEL_GPA + EBB_MAX_VCPUS * EBB_CHANNEL_BYTES <= EBB_EVENT_RING_GPA);
static_assert(EBB_EVENT_RING_GPA + EBB_EVENT_RING_BYTES <= EBB_PAGE_TABLE_GPA);

} // namespace abi
