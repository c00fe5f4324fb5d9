// SPDX-License-Identifier: MIT
// Watches batches on their way through the host. Every call comes from the thread that does the
// work, several threads may call at once, and none may block: they are on the hot path.
#pragma once

#include <cstdint>

#include "shared/trace_record.hpp"

namespace vmm {

struct Batch;
struct CoalescedRuns;
struct DiscardCounters;

class HintObserver {
 public:
  virtual ~HintObserver() = default;

  // A vCPU rang for a channel. Which one did is known of exits only; else it is the channel's.
  virtual void on_doorbell(unsigned vcpu, std::uint32_t channel) = 0;
  // The batch has just been copied out of its channel.
  virtual void on_taken(const Batch& batch) = 0;
  // A fault is about to happen to the batch, or to its answer.
  virtual void on_fault(const Batch& batch, abi::TraceFault fault) = 0;
  // Around the discarding of a batch. `lane` names the processor, `discarded` its engine's
  // counters.
  virtual void on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                                const DiscardCounters& counters) = 0;
  virtual void on_discard_end(const Batch& batch, unsigned lane,
                              const DiscardCounters& counters) = 0;
  // The batch's answer is about to be published; from the next moment on the guest may act on it.
  virtual void on_answer(const Batch& batch) = 0;
  // The answer that was announced found no room in the completion ring.
  virtual void on_answer_dropped(const Batch& batch) = 0;
};

} // namespace vmm
