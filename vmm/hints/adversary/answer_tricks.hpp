// SPDX-License-Identifier: MIT
// The answers of one channel as an adversarial host writes them: overtaken by the next one, or
// twice. All answers of the channel come through here. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "shared/report_channel.hpp"
#include "vmm/hints/adversary/fault_plan.hpp"
#include "vmm/hints/fault_counters.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/hint_port.hpp"

namespace vmm {

// A batch that is processed, and what is to be done with its answer.
struct FaultedAnswer {
  HintPort* port = nullptr;
  HeldBatch* held = nullptr;
  Repeat repeat = Repeat::none;
  bool reorder = false;
};

// Lock order: the mutex here, then the port's.
class AnswerTricks {
 public:
  // Before the first answer; the observer outlives this.
  void set_observer(HintObserver& observer) { observer_ = &observer; }

  struct Answered {
    bool interrupt = false; // an answer was written and the guest asked for an interrupt
    // Instead of being written the answer waits for the next one, or for answer_withheld().
    std::optional<std::uint64_t> withheld_ticket{};
  };
  // Writes the answer, and the one that waited for it.
  Answered answer(const FaultedAnswer& answer);
  // Writes the answer that waits, if it is still the one with this ticket; whichever it is, without
  // one. Returns whether to interrupt the guest.
  bool answer_withheld(std::optional<std::uint64_t> ticket = {});

  // Of the fields here: duplicated and reordered.
  [[nodiscard]] FaultCounters counters() const;

 private:
  bool put_locked(const FaultedAnswer& answer);
  void tell(const Batch& batch, abi::TraceFault fault) const;

  HintObserver* observer_ = nullptr; // null: nobody watches

  mutable std::mutex mutex_; // guards everything below
  FaultCounters counters_;
  std::optional<FaultedAnswer> withheld_;
  std::uint64_t ticket_ = 0;                 // of the latest that was withheld
  std::optional<abi::CompletionEntry> echo_; // to be repeated before the next answer
};

} // namespace vmm
