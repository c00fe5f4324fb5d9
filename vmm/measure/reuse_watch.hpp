// SPDX-License-Identifier: MIT
// What becomes of discarded memory: how long each part of it stayed away, by the order of the hint
// that took it. This is what a hint is worth, measured and not modelled.
//
// Every discarded frame has a stamp: when, and at which order. Now and then the kernel's page
// tables are asked which of them are resident again (PAGEMAP_SCAN, Linux 6.7), so a return lies
// between two scans. Scans take at most a fiftieth of the time. Four bytes a frame, touched where
// memory is discarded.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "shared/address.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/resident_scan.hpp"

namespace vmm {

// What happened to memory discarded by hints of one order.
struct OrderUse {
  std::uint64_t ranges = 0;
  std::uint64_t discarded_bytes = 0;
  std::uint64_t reused_bytes = 0; // resident again
  double away_mib_s = 0;          // time away times size, also of what is still away
};
using OrderUses = std::array<OrderUse, abi::order_count>;

class ReuseWatch final : public HintObserver {
 public:
  // Empty where the kernel has no such scan. `memory` outlives the watch.
  static std::unique_ptr<ReuseWatch> create(const GuestMemory& memory);

  // Any thread: looks for returns, if the last look is long enough ago. `now_ns` is monotonic.
  void look(std::uint64_t now_ns);
  // Any thread: the measured interval begins or ends; time away outside of it does not count.
  void begin(std::uint64_t now_ns);
  void end(std::uint64_t now_ns);

  // Any thread. What is still away counts up to the last end(), or else the last look. Looks at
  // every frame.
  [[nodiscard]] OrderUses uses() const;

  // CPU time of the discarding threads, which says more than passed time on a busy machine.
  [[nodiscard]] std::uint64_t discard_cpu_ns() const {
    return discard_cpu_ns_.load(std::memory_order_relaxed);
  }

  // Bytes taken by a hint at that moment, or resident again. Public for tests; thread-safe.
  void discarded(abi::Gpa start, abi::Order order, std::uint64_t now_ns);
  void returned(abi::Gpa start, std::uint64_t bytes, std::uint64_t now_ns);

  void on_doorbell(unsigned /*vcpu*/, std::uint32_t /*channel*/) override {}
  void on_taken(const Batch& /*batch*/) override {}
  void on_fault(const Batch& /*batch*/, abi::TraceFault /*fault*/) override {}
  void on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                        const DiscardCounters& counters) override;
  void on_discard_end(const Batch& batch, unsigned lane, const DiscardCounters& counters) override;
  void on_answer(const Batch& batch) override;
  void on_answer_dropped(const Batch& /*batch*/) override {}

 private:
  static constexpr unsigned most_lanes = 64; // vCPUs, workers and two

  // Milliseconds since origin_ns_, from 1, and the order in the top four bits; 0: not away.
  using Stamp = std::uint32_t;
  struct Freed {
    void operator()(Stamp* stamps) const;
  };
  struct Counts {
    std::atomic<std::uint64_t> ranges{0};
    std::atomic<std::uint64_t> discarded_frames{0};
    std::atomic<std::uint64_t> reused_frames{0};
    std::atomic<std::uint64_t> reused_frame_ms{0}; // of what came back
  };

  ReuseWatch(const GuestMemory& memory, ResidentScan scan);

  [[nodiscard]] std::uint32_t ms(std::uint64_t now_ns) const;
  [[nodiscard]] std::uint64_t counted_ms(std::uint32_t from_ms, std::uint32_t to_ms) const;
  void scan_locked(std::uint64_t now_ns);
  void count_return(Stamp stamp, std::uint32_t at_ms);

  const std::uint64_t frames_;
  const std::uint64_t origin_ns_;
  std::unique_ptr<Stamp[], Freed> stamps_;
  std::array<Counts, abi::order_count> counts_;
  // By lane: CPU time of its thread when it began to discard. A lane is one thread at a time.
  std::array<std::uint64_t, most_lanes> began_cpu_ns_{};
  std::atomic<std::uint64_t> discard_cpu_ns_{0};
  std::atomic<std::uint32_t> begin_ms_{1};
  std::atomic<std::uint32_t> end_ms_{0};    // 0: has not ended
  std::atomic<std::uint32_t> looked_ms_{1}; // last scan
  std::mutex scan_mutex_;                   // guards the next two
  std::uint64_t next_look_ns_ = 0;
  ResidentScan scan_;
};

} // namespace vmm
