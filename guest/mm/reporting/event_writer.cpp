// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/event_writer.hpp"

namespace guest::mm {

void EventWriter::write(abi::GuestEvent event) {
  // The guest is the only writer of tail and lost; a nonsensical head counts as a full ring.
  const std::uint64_t tail = ring_->tail;
  const std::uint64_t head = std::atomic_ref(ring_->head).load(std::memory_order_acquire);
  if (tail - head >= abi::event_ring_entries) {
    std::atomic_ref(ring_->lost).store(ring_->lost + 1, std::memory_order_relaxed);
    return;
  }
  event.tsc = __builtin_ia32_rdtsc();
  ring_->events[tail % abi::event_ring_entries] = event;
  // Release: the host sees the event when it sees the index.
  std::atomic_ref(ring_->tail).store(tail + 1, std::memory_order_release);
}

} // namespace guest::mm
