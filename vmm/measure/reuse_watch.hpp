// SPDX-License-Identifier: MIT
// What becomes of discarded memory: how long each part of it stayed away, by the order of the hint
// that took it. This is what a hint is worth, measured and not modelled.
//
// Every discarded frame has a stamp: when, and at which order. Passes over the kernel's page tables
// (FrameScan) say which of them are resident again, so a return lies between two passes. Looking
// takes at most a fiftieth of the time. Four bytes a frame, touched where memory is discarded.
//
// The threads that discard only note what they did; the stamps are written before the next look,
// by the thread that looks. So a batch costs them a few bytes a range, however large the ranges,
// and nothing under a port's lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "shared/address.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

// What happened to memory discarded by hints of one order.
struct OrderUse {
  std::uint64_t ranges = 0;
  std::uint64_t discarded_bytes = 0;
  std::uint64_t reused_bytes = 0; // resident again
  double away_mib_s = 0;          // time away times size, also of what is still away
};
using OrderUses = std::array<OrderUse, abi::order_count>;

class ReuseWatch final : public HintObserver, public FrameWatcher {
 public:
  // To be subscribed to the scan of this memory. `memory` outlives the watch.
  explicit ReuseWatch(const GuestMemory& memory);

  // Any thread: the measured interval begins or ends; time away outside of it does not count.
  // What came back before its end is known from a pass at the end.
  void begin(std::uint64_t now_ns);
  void end(std::uint64_t now_ns);

  // Any thread. What is still away counts up to the last end(), or else the last look. Looks at
  // every frame.
  [[nodiscard]] OrderUses uses();

  // CPU time of the discarding threads, which says more than passed time on a busy machine.
  [[nodiscard]] std::uint64_t discard_cpu_ns() const {
    return discard_cpu_ns_.load(std::memory_order_relaxed);
  }

  // Bytes taken by a hint at that moment. Public for tests; thread-safe.
  void discarded(abi::Gpa start, abi::Order order, std::uint64_t now_ns);

  void on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                        const DiscardCounters& counters) override;
  void on_discard_end(const Batch& batch, unsigned lane, const DiscardCounters& counters) override;
  void on_settled(const Batch& batch) override;

  // Wants a pass if the last one is long enough ago, and every mark.
  bool pass_begins(std::uint64_t now_ns, Occasion occasion) override;
  void resident(abi::Gpa start, std::uint64_t bytes) override;
  void pass_ends(Ended how) override;

 private:
  static constexpr unsigned most_lanes = 64; // vCPUs, workers and two

  // Milliseconds since origin_ns_, from 1, and the order in the top four bits; 0: not away.
  using Stamp = std::uint32_t;
  struct Freed {
    void operator()(Stamp* stamps) const;
  };
  struct Note {                    // a discarded block
    std::uint32_t first_frame = 0; // up to 256 GiB
    Stamp stamp = 0;
  };
  struct Counts {
    std::uint64_t ranges = 0;
    std::uint64_t discarded_frames = 0;
    std::uint64_t reused_frames = 0;
    std::uint64_t reused_frame_ms = 0; // of what came back
  };

  [[nodiscard]] std::uint32_t ms(std::uint64_t now_ns) const;
  [[nodiscard]] std::uint64_t counted_ms(std::uint32_t from_ms, std::uint32_t to_ms) const;
  [[nodiscard]] Note note_of(abi::Gpa start, abi::Order order, std::uint64_t now_ns) const;
  void write_stamps_if_many();
  void write_stamps_locked();
  void count_return_locked(Stamp stamp, std::uint32_t at_ms);

  const std::uint64_t frames_;
  const std::uint64_t origin_ns_;
  // By lane: CPU time of its thread when it began to discard. A lane is one thread at a time.
  std::array<std::uint64_t, most_lanes> began_cpu_ns_{};
  std::atomic<std::uint64_t> discard_cpu_ns_{0};
  std::atomic<std::uint32_t> begin_ms_{1};
  std::atomic<std::uint32_t> end_ms_{0}; // 0: has not ended

  std::mutex notes_mutex_;  // held for the ranges of one batch; guards the next
  std::vector<Note> notes_; // not in the stamps yet, in the order in which they were discarded

  std::mutex stamps_mutex_; // for the whole of a look; before notes_mutex_; guards the rest
  std::vector<Note> writing_;
  std::unique_ptr<Stamp[], Freed> stamps_;
  std::array<Counts, abi::order_count> counts_{};
  std::uint32_t looked_ms_ = 1; // last complete look
  std::uint64_t next_look_ns_ = 0;
  std::uint64_t look_ns_ = 0;              // of the look that goes on
  std::unique_lock<std::mutex> look_lock_; // held while one goes on
};

} // namespace vmm
