// SPDX-License-Identifier: MIT
#include "vmm/record/guest_events.hpp"

#include <atomic>
#include <bit>

namespace vmm {

std::uint64_t GuestEvents::pending() {
  const std::uint64_t tail = std::atomic_ref(ring_->tail).load(std::memory_order_acquire);
  const std::uint64_t count = tail - head_;
  if (count <= abi::event_ring_entries) {
    return count;
  }
  // Ahead or behind, one cannot tell; go on from where the guest says it is.
  ++lost_;
  head_ = tail;
  publish_head();
  return 0;
}

bool GuestEvents::copy_next(abi::GuestEvent& event) {
  abi::GuestEvent& slot = ring_->events[head_++ % abi::event_ring_entries];
  event.tsc = std::atomic_ref(slot.tsc).load(std::memory_order_relaxed);
  event.address = std::atomic_ref(slot.address).load(std::memory_order_relaxed);
  event.value = std::atomic_ref(slot.value).load(std::memory_order_relaxed);
  event.count = std::atomic_ref(slot.count).load(std::memory_order_relaxed);
  event.event = std::atomic_ref(slot.event).load(std::memory_order_relaxed);
  event.channel = std::atomic_ref(slot.channel).load(std::memory_order_relaxed);
  event.order = std::atomic_ref(slot.order).load(std::memory_order_relaxed);
  event.detail = std::atomic_ref(slot.detail).load(std::memory_order_relaxed);
  return abi::is_guest_event(event.event) && event.channel < EBB_MAX_VCPUS &&
         event.order <= abi::max_order;
}

void GuestEvents::publish_head() {
  std::atomic_ref(ring_->head).store(head_, std::memory_order_release);
}

std::uint64_t GuestEvents::take_lost() {
  const std::uint64_t told = std::atomic_ref(ring_->lost).load(std::memory_order_relaxed);
  const std::uint64_t lost = lost_ + (told > told_lost_ ? told - told_lost_ : 0);
  told_lost_ = told;
  lost_ = 0;
  return lost;
}

} // namespace vmm
