// SPDX-License-Identifier: MIT
// The guest's end of its event ring: what only the guest knows of a hint's life, for the host's
// hypercall trace. Off unless the host asks for it; then every call is one predictable branch.
//
// Not thread-safe but for set_caller(): written under the page allocator's lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "shared/event_ring.hpp"
#include "shared/layout.h"

namespace guest::mm {

class EventWriter {
 public:
  // Off.
  EventWriter() = default;
  // `ring` outlives the writer; `level` is BootInfo::trace_level.
  EventWriter(abi::EventRing* ring, abi::TraceLevel level)
      : ring_(ring), level_(ring == nullptr ? abi::TraceLevel::off : level) {}

  [[nodiscard]] bool on() const { return level_ != abi::TraceLevel::off; }

  // Code address on whose behalf this vCPU works in the allocator from now on; 0 for nobody's.
  void set_caller(unsigned vcpu, std::uint64_t code) {
    if (on()) [[unlikely]] {
      callers_[vcpu] = code;
    }
  }

  // A batch is about to be submitted; before its index is published.
  void submitted(unsigned channel, std::uint64_t batch_id, std::uint32_t ranges) {
    if (on()) [[unlikely]] {
      write({.address = callers_[channel],
             .value = batch_id,
             .count = ranges,
             .event = abi::TraceEvent::submit,
             .channel = static_cast<std::uint8_t>(channel)});
    }
  }
  // The first answer to a batch is taken in.
  void drained(unsigned channel, std::uint64_t batch_id, std::uint32_t ranges) {
    if (on()) [[unlikely]] {
      write({.value = batch_id,
             .count = ranges,
             .event = abi::TraceEvent::drain,
             .channel = static_cast<std::uint8_t>(channel)});
    }
  }
  // The guest stops waiting for a batch, whose ranges stay isolated.
  void quarantined(unsigned channel, std::uint64_t batch_id) {
    if (on()) [[unlikely]] {
      write({.value = batch_id,
             .event = abi::TraceEvent::quarantine,
             .channel = static_cast<std::uint8_t>(channel)});
    }
  }
  // A block leaves the Buddy; `reported_frames` of it had been answered as discarded.
  void allocated(unsigned vcpu, abi::Pfn pfn, abi::Order order, std::uint32_t reported_frames) {
    if (level_ == abi::TraceLevel::all ||
        (level_ == abi::TraceLevel::ranges && reported_frames != 0)) [[unlikely]] {
      block(abi::TraceEvent::allocate, vcpu, pfn, order, reported_frames);
    }
  }
  // A block comes back to the Buddy.
  void freed(unsigned vcpu, abi::Pfn pfn, abi::Order order) {
    if (level_ == abi::TraceLevel::all) [[unlikely]] {
      block(abi::TraceEvent::free, vcpu, pfn, order, 0);
    }
  }
  // A block comes back that nobody touched since it left: what was answered for it still holds.
  void unused(unsigned vcpu, abi::Pfn pfn, abi::Order order, std::uint32_t reported_frames) {
    if (level_ == abi::TraceLevel::all ||
        (level_ == abi::TraceLevel::ranges && reported_frames != 0)) [[unlikely]] {
      block(abi::TraceEvent::unused, vcpu, pfn, order, reported_frames);
    }
  }

  // Whether the host should be asked, by a doorbell, to take events out before some are lost.
  // Any vCPU, without the lock.
  [[nodiscard]] bool nearly_full() const {
    return on() && std::atomic_ref(ring_->tail).load(std::memory_order_relaxed) -
                           std::atomic_ref(ring_->head).load(std::memory_order_relaxed) >=
                       abi::event_ring_entries * 3 / 4;
  }

 private:
  void block(abi::TraceEvent event, unsigned vcpu, abi::Pfn pfn, abi::Order order,
             std::uint32_t count) {
    write({.address = abi::to_gpa(pfn).value,
           .value = callers_[vcpu],
           .count = count,
           .event = event,
           .channel = static_cast<std::uint8_t>(vcpu),
           .order = order.value});
  }
  void write(abi::GuestEvent event);

  abi::EventRing* ring_ = nullptr;
  abi::TraceLevel level_ = abi::TraceLevel::off;
  std::array<std::uint64_t, EBB_MAX_VCPUS> callers_{};
};

} // namespace guest::mm
