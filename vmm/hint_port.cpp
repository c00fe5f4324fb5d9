// SPDX-License-Identifier: MIT
#include "vmm/hint_port.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/sampler.hpp"

namespace vmm {

FaultCounters& FaultCounters::operator+=(const FaultCounters& other) {
  delayed += other.delayed;
  dropped += other.dropped;
  stalled += other.stalled;
  duplicated += other.duplicated;
  reordered += other.reordered;
  declined += other.declined;
  failed += other.failed;
  partial_ranges += other.partial_ranges;
  return *this;
}

HintPort::HintPort(unsigned index, abi::Channel& channel, UniqueFd doorbell, const FaultPlan& plan)
    : index_(index), doorbell_(std::move(doorbell)), plan_(plan), server_(channel) {}

void HintPort::set_observer(HintObserver& observer) {
  observer_ = &observer;
  server_.set_observer(&observer, index_);
}

void HintPort::take_doorbell() {
  eventfd_t rings = 0;
  if (::eventfd_read(doorbell_.get(), &rings) == 0) {
    if (observer_ != nullptr) [[unlikely]] {
      observer_->on_doorbell(index_, index_);
    }
    const std::scoped_lock lock(mutex_);
    ++totals_.doorbells;
  }
}

void HintPort::ring_doorbell() {
  // Fails only when the counter is full, and then it is readable.
  static_cast<void>(::eventfd_write(doorbell_.get(), 1));
}

HintPort::Taken HintPort::take() {
  const std::scoped_lock lock(mutex_);
  for (unsigned attempt = 0; attempt < abi::ring_entries; ++attempt) {
    if (free_ == 0) {
      if (!server_.take(excess_)) {
        return {};
      }
      ++totals_.protocol_errors;
      continue;
    }
    const auto index = static_cast<unsigned>(std::countr_zero(free_));
    HeldBatch& held = held_[index];
    if (!server_.take(held.batch)) {
      return {};
    }
    free_ &= ~(1U << index);
    held.taken_ns = monotonic_ns();
    held.declined_by_fault = 0;
    held.faults = plan_.decide(index_, next_number_++);
    totals_.doorbells_suppressed += silent_ ? 1U : 0U;
    totals_.max_held = std::max<std::uint64_t>(
        totals_.max_held, abi::ring_entries - static_cast<unsigned>(std::popcount(free_)));
    const BatchFaults& faults = held.faults;
    if (observer_ != nullptr) [[unlikely]] {
      tell_faults(held);
    }
    totals_.faults.delayed += faults.delay_ns != 0 && !faults.never_answered() ? 1U : 0U;
    totals_.faults.dropped += faults.fate == Fate::drop ? 1U : 0U;
    totals_.faults.stalled += faults.fate == Fate::stall ? 1U : 0U;
    totals_.faults.declined += faults.fate == Fate::decline ? 1U : 0U;
    totals_.faults.failed += faults.fate == Fate::fail ? 1U : 0U;
    return {&held, server_.has_submissions()};
  }
  return {};
}

void HintPort::tell_faults(const HeldBatch& held) const {
  const BatchFaults& faults = held.faults;
  const auto tell = [&](bool happens, abi::TraceFault fault) {
    if (happens) {
      observer_->on_fault(held.batch, fault);
    }
  };
  tell(faults.delay_ns != 0 && !faults.never_answered(), abi::TraceFault::delay);
  tell(faults.fate == Fate::drop, abi::TraceFault::drop);
  tell(faults.fate == Fate::stall, abi::TraceFault::stall);
  tell(faults.fate == Fate::decline, abi::TraceFault::decline);
  tell(faults.fate == Fate::fail, abi::TraceFault::fail);
  tell(faults.reorder, abi::TraceFault::reorder);
  tell(faults.repeat != Repeat::none, abi::TraceFault::duplicate);
  tell(faults.partial > 0, abi::TraceFault::partial);
}

bool HintPort::has_submissions() {
  const std::scoped_lock lock(mutex_);
  return server_.has_submissions();
}

HintPort::Answered HintPort::answer(HeldBatch& held) {
  const std::scoped_lock lock(mutex_);
  if (held.faults.reorder && withheld_ == nullptr) {
    withheld_ = &held;
    return {Disposal::withheld, false, ++withheld_ticket_};
  }
  put_locked(held);
  if (withheld_ != nullptr) {
    ++totals_.faults.reordered;
    answer_withheld_locked();
  }
  return {Disposal::answered, interrupt_locked(), 0};
}

bool HintPort::answer_withheld(std::uint64_t ticket) {
  const std::scoped_lock lock(mutex_);
  return ticket == withheld_ticket_ && answer_withheld_locked() && interrupt_locked();
}

bool HintPort::answer_withheld() {
  const std::scoped_lock lock(mutex_);
  return answer_withheld_locked() && interrupt_locked();
}

bool HintPort::answer_withheld_locked() {
  if (withheld_ == nullptr) {
    return false;
  }
  put_locked(*std::exchange(withheld_, nullptr));
  return true;
}

void HintPort::put_locked(HeldBatch& held) {
  if (echo_ && server_.repeat_answer(*echo_)) {
    ++totals_.faults.duplicated;
  }
  echo_.reset();
  count_answer_locked(held);
  // The slot is free before the guest can see the answer: its next batch may come at once.
  free_ |= 1U << static_cast<unsigned>(&held - held_.data());
  if (server_.answer(held.batch) == AnswerResult::dropped) {
    return;
  }
  if (held.faults.repeat == Repeat::later) {
    echo_ = held.batch.answer;
  } else if (held.faults.repeat == Repeat::at_once && server_.repeat_answer(held.batch.answer)) {
    ++totals_.faults.duplicated;
  }
}

void HintPort::count_answer_locked(const HeldBatch& held) {
  const std::span<const abi::RangeDescriptor> ranges = held.batch.submitted();
  for (std::uint32_t range = 0; range < ranges.size(); ++range) {
    if (ranges[range].kind() == abi::RangeKind::hint &&
        held.batch.answer.outcome(range) != abi::Outcome::failed) {
      ++totals_.ranges;
      totals_.bytes += ranges[range].order().bytes();
    }
  }
  totals_.faults.partial_ranges += held.declined_by_fault;
  totals_.latency.add(monotonic_ns() - held.taken_ns);
}

bool HintPort::interrupt_locked() {
  const bool wanted = server_.interrupt_wanted();
  totals_.interrupts += wanted ? 1U : 0U;
  return wanted;
}

void HintPort::set_doorbell(DoorbellUse use) {
  const std::scoped_lock lock(mutex_);
  silent_ = use == DoorbellUse::silence;
  server_.set_doorbell(use);
}

PortTotals HintPort::totals() const {
  const std::scoped_lock lock(mutex_);
  PortTotals totals = totals_;
  const ChannelCounters& counters = server_.counters();
  totals.batches = counters.batches_taken.value();
  totals.answered = counters.batches_answered.value();
  totals.protocol_errors += counters.bad_submissions.value() + counters.ring_overruns.value() +
                            counters.dropped_answers.value();
  return totals;
}

} // namespace vmm
