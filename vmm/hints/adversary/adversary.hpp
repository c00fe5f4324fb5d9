// SPDX-License-Identifier: MIT
// The adversarial host: treats batches as a fault plan says, or a hand at the prompt of --step. It
// does what the protocol allows a host to do and a guest has to live with, never more.
//
//   intercept() --> decide --+--> now: process_faulted() --> AnswerTricks --> HintPort::answer()
//                            +--> late: the same on the thread of the DelayQueue
//                            +--> never answered: discarded late and again, on that thread
//
// Before configure() it is honest.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "vmm/hints/adversary/answer_tricks.hpp"
#include "vmm/hints/adversary/delay_queue.hpp"
#include "vmm/hints/adversary/fault_plan.hpp"
#include "vmm/hints/batch_interceptor.hpp"
#include "vmm/hints/hint_events.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

// A batch was taken and is about to be treated as its faults say, which may be changed. Holds up
// this batch and, of a synchronous host, its channel, for as long as it likes. May be empty.
using FaultsByHand = std::function<void(const Batch&, BatchFaults&)>;

struct AdversaryOptions {
  DiscardOptions discard{};
  FaultOptions faults{};
  std::uint64_t seed = 1;
  // Readable from the guest's end on: no vCPU thread waits any longer. Negative: there is none.
  int stop_fd = -1;
};

class Adversary final : public BatchInterceptor {
 public:
  // For a guest of `channels` channels; `memory` and `calls` outlive the adversary. Environment
  // error when a way of discarding is not possible.
  static Result<std::unique_ptr<Adversary>> create(const GuestMemory& memory, unsigned channels,
                                                   const AdversaryOptions& options,
                                                   DiscardCalls& calls, HintEvents events,
                                                   FaultsByHand by_hand = {});

  void set_observer(HintObserver& observer, unsigned first_lane) override;
  [[nodiscard]] Result<unsigned> make_threads(const ThreadStart& on_start) override;
  void configure(ManagedRange managed, const std::optional<HintChecker>& checker,
                 LateAnswers late) override;
  void intercept(HintPort& port, HeldBatch& held, BatchProcessor& processor) override;
  void before_return(HintPort& port) override;
  void stop() override;
  void add_to(HintTotals& totals) const override;

 private:
  struct Channel {
    AnswerTricks tricks;
    // By slot; each is used by whoever has the batch in hand.
    std::array<BatchFaults, abi::ring_entries> faults;
    mutable std::mutex mutex; // guards what follows
    FaultCounters decided;    // without duplicated and reordered
  };

  Adversary(unsigned channels, const AdversaryOptions& options, HintEvents events,
            FaultsByHand by_hand, DiscardEngine delayed, DiscardEngine dropped);

  const BatchFaults& decide(Channel& channel, HeldBatch& held);
  void tell_faults(const Batch& batch, const BatchFaults& faults) const;
  void finish(HintPort& port, HeldBatch& held, BatchProcessor& processor);
  void discard_late(HintPort& port, HeldBatch& held, std::uint64_t interval_ns);
  void wait_on_vcpu_thread(std::uint64_t duration_ns) const;
  void tell_violation(BatchProcessor& processor) const;
  void interrupt(const HintPort& port) const;

  const FaultPlan plan_;
  const int stop_fd_;
  const HintEvents events_;
  const FaultsByHand by_hand_;
  HintObserver* observer_ = nullptr; // null: nobody watches
  std::vector<std::unique_ptr<Channel>> channels_;
  std::atomic<bool> configured_{false};
  std::atomic<LateAnswers> late_{LateAnswers::refused};
  BatchProcessor delayed_;                      // of the queue's thread: answers that come later
  BatchProcessor dropped_;                      // the same thread: batches never answered
  std::atomic<std::uint64_t> late_discards_{0}; // of these
  DelayQueue delays_;                           // last: its thread uses the others
};

} // namespace vmm
