// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/answer_tricks.hpp"

#include <utility>

namespace vmm {

AnswerTricks::Answered AnswerTricks::answer(const FaultedAnswer& answer) {
  const std::scoped_lock lock(mutex_);
  if (answer.reorder && !withheld_) {
    tell(answer.held->batch, abi::TraceFault::reorder);
    withheld_ = answer;
    return {.withheld_ticket = ++ticket_};
  }
  bool interrupt = put_locked(answer);
  if (withheld_) {
    ++counters_.reordered;
    interrupt |= put_locked(*std::exchange(withheld_, {}));
  }
  return {.interrupt = interrupt};
}

bool AnswerTricks::answer_withheld(std::optional<std::uint64_t> ticket) {
  const std::scoped_lock lock(mutex_);
  return withheld_ && ticket.value_or(ticket_) == ticket_ &&
         put_locked(*std::exchange(withheld_, {}));
}

bool AnswerTricks::put_locked(const FaultedAnswer& answer) {
  HintPort& port = *answer.port;
  if (echo_ && port.repeat_answer(*echo_)) {
    ++counters_.duplicated;
  }
  echo_.reset();
  if (answer.repeat == Repeat::none) {
    return port.answer(*answer.held).interrupt;
  }
  const Batch batch = answer.held->batch; // once it is answered its place is another's
  const HintPort::Answered answered = port.answer(*answer.held);
  if (answered.result == AnswerResult::dropped) {
    return answered.interrupt;
  }
  tell(batch, abi::TraceFault::duplicate);
  if (answer.repeat == Repeat::later) {
    echo_ = batch.answer;
  } else if (port.repeat_answer(batch.answer)) {
    ++counters_.duplicated;
  }
  return answered.interrupt;
}

void AnswerTricks::tell(const Batch& batch, abi::TraceFault fault) const {
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_fault(batch, fault);
  }
}

FaultCounters AnswerTricks::counters() const {
  const std::scoped_lock lock(mutex_);
  return counters_;
}

} // namespace vmm
