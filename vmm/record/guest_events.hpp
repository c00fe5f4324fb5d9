// SPDX-License-Identifier: MIT
// The host's end of the guest's event ring (shared/event_ring.hpp). Nothing in it is believed:
// indices are compared with the host's own, events are copied once and only known ones pass.
#pragma once

#include <cstdint>

#include "shared/event_ring.hpp"

namespace vmm {

// Not thread-safe.
class GuestEvents {
 public:
  // `ring` lies in guest memory and outlives the reader.
  explicit GuestEvents(abi::EventRing& ring) : ring_(&ring) {}

  // Calls take(const GuestEvent&) for what is in the ring, at most one ring's length.
  template <typename Take> void drain(Take take);

  // Events lost since the last call: no room, overwritten, or nonsense.
  [[nodiscard]] std::uint64_t take_lost();

 private:
  // How many events to take, at most the ring's length.
  [[nodiscard]] std::uint64_t pending();
  // A private copy of the next event; false if it is none that a guest may write.
  [[nodiscard]] bool copy_next(abi::GuestEvent& event);
  void publish_head();

  abi::EventRing* ring_;
  std::uint64_t head_ = 0;
  std::uint64_t lost_ = 0;      // found here
  std::uint64_t told_lost_ = 0; // of the guest's count
};

template <typename Take> void GuestEvents::drain(Take take) {
  const std::uint64_t count = pending();
  for (std::uint64_t index = 0; index < count; ++index) {
    abi::GuestEvent event;
    if (copy_next(event)) {
      take(event);
    } else {
      ++lost_;
    }
  }
  if (count != 0) {
    publish_head();
  }
}

} // namespace vmm
