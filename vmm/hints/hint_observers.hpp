// SPDX-License-Identifier: MIT
// Several observers of hints as one. They enclose each other: what begins is told in the order in
// which they were added, what ends in the reverse. The first, which may take memory away, holds it
// for as long as the others look at the batch; the last sees the least of what the others do.
#pragma once

#include <ranges>
#include <vector>

#include "vmm/hints/hint_observer.hpp"

namespace vmm {

class HintObservers final : public HintObserver {
 public:
  // Before anything is observed; the observer outlives this one.
  void add(HintObserver& observer) { observers_.push_back(&observer); }
  [[nodiscard]] bool empty() const { return observers_.empty(); }

  void on_doorbell(unsigned vcpu, std::uint32_t channel) override {
    each([&](HintObserver& observer) { observer.on_doorbell(vcpu, channel); });
  }
  void on_taken(const Batch& batch) override {
    each([&](HintObserver& observer) { observer.on_taken(batch); });
  }
  void on_fault(const Batch& batch, abi::TraceFault fault) override {
    each([&](HintObserver& observer) { observer.on_fault(batch, fault); });
  }
  void on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                        const DiscardCounters& counters) override {
    each([&](HintObserver& observer) { observer.on_discard_begin(batch, lane, runs, counters); });
  }
  void on_discard_end(const Batch& batch, unsigned lane, const DiscardCounters& counters) override {
    each_in_reverse(
        [&](HintObserver& observer) { observer.on_discard_end(batch, lane, counters); });
  }
  void on_settled(const Batch& batch) override {
    each_in_reverse([&](HintObserver& observer) { observer.on_settled(batch); });
  }
  void on_answer(const Batch& batch) override {
    each_in_reverse([&](HintObserver& observer) { observer.on_answer(batch); });
  }
  void on_answer_dropped(const Batch& batch) override {
    each_in_reverse([&](HintObserver& observer) { observer.on_answer_dropped(batch); });
  }

 private:
  template <typename Call> void each(Call call) {
    for (HintObserver* const observer : observers_) {
      call(*observer);
    }
  }
  template <typename Call> void each_in_reverse(Call call) {
    for (HintObserver* const observer : std::views::reverse(observers_)) {
      call(*observer);
    }
  }

  std::vector<HintObserver*> observers_;
};

} // namespace vmm
