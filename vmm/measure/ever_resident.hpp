// SPDX-License-Identifier: MIT
// Which guest memory was ever resident: what would be resident still, had nothing been given back.
// This is the model of a run without reporting, page by page and in the grain in which the backing
// comes: whatever a fault made resident is counted, used or not.
//
// Passes of a FrameScan see most of it. What is discarded before a pass saw it is looked up just
// before its discard, once: memory that is known already is not looked up again.
//
// What it cannot know is whether the same guest, without reporting, would have allocated the same
// pages. A bit a frame, touched where memory was resident.
#pragma once

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

class EverResident final : public HintObserver, public FrameWatcher {
 public:
  // To be subscribed to the passes of another scan of this memory; `lookup` is its own.
  EverResident(const GuestMemory& memory, FrameScan lookup);

  // Any thread.
  [[nodiscard]] std::uint64_t bytes() const {
    return frames_.load(std::memory_order_relaxed) * abi::page_bytes;
  }

  bool pass_begins(std::uint64_t /*now_ns*/, Occasion /*occasion*/) override { return true; }
  void resident(abi::Gpa start, std::uint64_t bytes) override { mark(start, bytes); }
  void pass_ends(Ended /*how*/) override {}

  void on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                        const DiscardCounters& counters) override;

 private:
  void mark(abi::Gpa start, std::uint64_t bytes);
  [[nodiscard]] bool all_marked(abi::Gpa start, std::uint64_t bytes) const;
  void look_up(abi::Gpa start, std::uint64_t bytes);

  mutable std::vector<std::uint64_t> marks_; // bit per frame
  std::atomic<std::uint64_t> frames_{0};     // marked
  std::mutex lookup_mutex_;                  // guards the next
  FrameScan lookup_;
};

} // namespace vmm
