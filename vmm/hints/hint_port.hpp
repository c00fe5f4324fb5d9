// SPDX-License-Identifier: MIT
// One report channel as the host's threads share it: its rings behind a lock, and which batches are
// taken and not yet answered.
//
//   take() --> slot --> (processing, by whoever took it) --> answer() --> slot free again
//
// The port's mutex is held only to look at the rings and the records here, never while memory is
// discarded. Several threads may take batches of one port and finish them in any order.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "shared/latency_histogram.hpp"
#include "shared/report_channel.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/hints/batch.hpp"
#include "vmm/hints/channel_server.hpp"
#include "vmm/hints/hint_observer.hpp"

namespace vmm {

// A batch between take() and its answer; belongs to the thread that took it or was handed it.
struct HeldBatch {
  Batch batch;
  std::uint64_t taken_ns = 0; // monotonic clock
  std::uint64_t number = 0;   // of the batch on its channel, from 0
  unsigned slot = 0;          // tells the batches in hand of a channel apart, below ring_entries
};

struct PortTotals {
  std::uint64_t batches = 0; // taken
  std::uint64_t answered = 0;
  std::uint64_t ranges = 0;    // hints accepted, of answered batches
  std::uint64_t bytes = 0;     // of these
  std::uint64_t doorbells = 0; // that reached the host: exits, or wake-ups by the eventfd
  std::uint64_t doorbells_suppressed = 0; // batches taken while the guest was told not to ring
  std::uint64_t interrupts = 0;           // answers for which the guest wanted one
  std::uint64_t max_held = 0;             // batches taken and not answered at one time
  std::uint64_t protocol_errors = 0; // ring overruns, bad submissions, excess batches, lost answers
  abi::LatencyHistogram latency;     // from taking a batch to its answer
};

class HintPort {
 public:
  // `channel` (in guest memory) outlives the port. `doorbell` is a non-blocking eventfd.
  HintPort(unsigned index, abi::Channel& channel, UniqueFd doorbell);
  HintPort(const HintPort&) = delete;
  HintPort& operator=(const HintPort&) = delete;

  // Before the port is used; the observer outlives it.
  void set_observer(HintObserver& observer);

  [[nodiscard]] unsigned index() const { return index_; }
  [[nodiscard]] int doorbell_fd() const { return doorbell_.get(); }
  // Empties the doorbell; call before take(), so that what is submitted later rings anew.
  void take_doorbell();
  void ring_doorbell();
  // A ring that came as an exit and is served by the same thread.
  void count_doorbell();

  struct Taken {
    HeldBatch* held = nullptr; // null: nothing to take
    bool more = false;         // another batch was waiting
  };
  // Takes the oldest batch. An honest guest has at most ring_entries batches without an answer;
  // further ones are taken, never looked at and never answered. Bounded work.
  Taken take();
  [[nodiscard]] bool has_submissions();

  struct Answered {
    AnswerResult result = AnswerResult::written;
    bool interrupt = false; // the guest asked for an interrupt at this answer
  };
  // Writes the answer of a processed batch. `held` is free from before the guest can see it: the
  // channel's next batch may be there when this returns.
  Answered answer(HeldBatch& held);
  // Writes an answer once more, as a misbehaving host does, where there is room for it.
  bool repeat_answer(const abi::CompletionEntry& answer);

  // Tells the guest whether to ring. After asking it to ring, look once more: has_submissions().
  void set_doorbell(DoorbellUse use);

  [[nodiscard]] PortTotals totals() const;

 private:
  void count_answer_locked(const HeldBatch& held);

  const unsigned index_;
  const UniqueFd doorbell_;
  HintObserver* observer_ = nullptr; // null: nobody watches

  mutable std::mutex mutex_; // guards everything below
  ChannelServer server_;
  PortTotals totals_;
  std::array<HeldBatch, abi::ring_entries> held_;
  std::uint32_t free_ = (1U << abi::ring_entries) - 1; // bit per element of held_
  std::uint64_t next_number_ = 0;                      // of a batch
  bool silent_ = false;                                // the guest was told not to ring
  Batch excess_;                                       // where batches go that are not looked at
};

} // namespace vmm
