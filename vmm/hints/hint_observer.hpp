// SPDX-License-Identifier: MIT
// Watches batches on their way through the host. Every call comes from the thread that does the
// work, several threads may call at once, and the guest waits for all of them: none waits for
// anything but a short lock. on_taken, on_fault, on_answer and on_answer_dropped hold up the whole
// channel, whose lock is held around them: they do no work by the frame. (The oracle, a debugging
// aid, changes access to memory there.)
#pragma once

#include <cstdint>

#include "shared/trace_record.hpp"

namespace vmm {

struct Batch;
struct CoalescedRuns;
struct DiscardCounters;

// By default nothing is looked at.
class HintObserver {
 public:
  virtual ~HintObserver() = default;

  // A vCPU rang for a channel. Which one did is known of exits only; else it is the channel's.
  virtual void on_doorbell(unsigned /*vcpu*/, std::uint32_t /*channel*/) {}
  // The batch has just been copied out of its channel; the guest does not see it as taken yet.
  virtual void on_taken(const Batch& /*batch*/) {}
  // A fault is about to happen to the batch, or to its answer.
  virtual void on_fault(const Batch& /*batch*/, abi::TraceFault /*fault*/) {}
  // Around the discarding of a batch. `lane` names the processor, `discarded` its engine's
  // counters.
  virtual void on_discard_begin(const Batch& /*batch*/, unsigned /*lane*/,
                                const CoalescedRuns& /*runs*/,
                                const DiscardCounters& /*counters*/) {}
  virtual void on_discard_end(const Batch& /*batch*/, unsigned /*lane*/,
                              const DiscardCounters& /*counters*/) {}
  // Every range of the batch has its outcome, and an answer will be tried. Before on_answer; not
  // for batches that are never answered. The place for all that does not depend on the answer's
  // moment: no lock is held.
  virtual void on_settled(const Batch& /*batch*/) {}
  // The batch's answer is about to be published; from the next moment on the guest may act on it.
  virtual void on_answer(const Batch& /*batch*/) {}
  // The answer that was announced found no room in the completion ring.
  virtual void on_answer_dropped(const Batch& /*batch*/) {}
};

} // namespace vmm
