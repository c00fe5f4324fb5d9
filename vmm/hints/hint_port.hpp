// SPDX-License-Identifier: MIT
// One report channel as the host's threads share it: which batches are taken and not yet answered,
// and what becomes of their answers, faults included.
//
//   take() --> slot --> (processing, by whoever took it) --> answer() --> slot free again
//
// The port's mutex is held only to look at the rings and the records here, never while memory is
// discarded. Several threads may take batches of one port and finish them in any order.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "shared/latency_histogram.hpp"
#include "shared/report_channel.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/channel_server.hpp"
#include "vmm/hints/fault_plan.hpp"

namespace vmm {

// A batch between take() and its answer; belongs to the thread that took it or was handed it.
struct HeldBatch {
  Batch batch;
  BatchFaults faults;
  std::uint64_t taken_ns = 0;
  std::uint32_t settled_by_fault = 0; // ranges; set by processing
};

// Batches of one channel to which a fault happened.
struct FaultCounters {
  std::uint64_t delayed = 0;
  std::uint64_t dropped = 0;
  std::uint64_t stalled = 0;
  std::uint64_t duplicated = 0; // answers really written twice
  std::uint64_t reordered = 0;  // answers that had to wait for a later one
  std::uint64_t declined = 0;
  std::uint64_t failed = 0;
  std::uint64_t partial_ranges = 0; // ranges declined, or failed by hand, in honest batches

  FaultCounters& operator+=(const FaultCounters& other);
  [[nodiscard]] std::uint64_t sum() const {
    return delayed + dropped + stalled + duplicated + reordered + declined + failed +
           partial_ranges;
  }
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
  FaultCounters faults;
  abi::LatencyHistogram latency; // from taking a batch to its answer
};

class HintPort {
 public:
  // `channel` (in guest memory) and `plan` outlive the port. `doorbell` is a non-blocking eventfd.
  HintPort(unsigned index, abi::Channel& channel, UniqueFd doorbell, const FaultPlan& plan);
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
  // Other faults than the plan's, for a batch that was taken and nothing else happened to yet.
  void set_faults(HeldBatch& held, const BatchFaults& faults);

  enum class Disposal : std::uint8_t {
    answered, // `held` is free again
    withheld, // the answer waits for the port's next one, or for answer_withheld()
  };
  struct Answered {
    Disposal disposal = Disposal::answered;
    bool interrupt = false;   // an answer was written and the guest asked for an interrupt
    std::uint64_t ticket = 0; // of a withheld answer
  };
  // Writes the answer of a processed batch, and the one that waited for it.
  Answered answer(HeldBatch& held);
  // Writes the answer that waits, if it is still the one with this ticket. Returns whether to
  // interrupt the guest.
  bool answer_withheld(std::uint64_t ticket);
  // The same whichever it is.
  bool answer_withheld();

  // Tells the guest whether to ring. After asking it to ring, look once more: has_submissions().
  void set_doorbell(DoorbellUse use);

  [[nodiscard]] PortTotals totals() const;

 private:
  enum class Count : std::uint8_t { add, take_back };
  void count_faults_locked(const BatchFaults& faults, Count count);
  void tell_faults_locked(const HeldBatch& held) const;
  void tell_fault(const Batch& batch, abi::TraceFault fault) const;
  void put_locked(HeldBatch& held);
  [[nodiscard]] bool interrupt_locked();
  bool answer_withheld_locked();
  void count_answer_locked(const HeldBatch& held);

  const unsigned index_;
  const UniqueFd doorbell_;
  const FaultPlan& plan_;
  HintObserver* observer_ = nullptr; // null: nobody watches

  mutable std::mutex mutex_; // guards everything below
  ChannelServer server_;
  PortTotals totals_;
  std::array<HeldBatch, abi::ring_entries> held_;
  std::uint32_t free_ = (1U << abi::ring_entries) - 1; // bit per element of held_
  std::uint64_t next_number_ = 0;                      // of the batch, for the plan
  bool silent_ = false;                                // the guest was told not to ring
  HeldBatch* withheld_ = nullptr;
  std::uint64_t withheld_ticket_ = 0;
  std::optional<abi::CompletionEntry> echo_; // to be repeated with the next answer
  Batch excess_;                             // where batches go that are not looked at
};

} // namespace vmm
