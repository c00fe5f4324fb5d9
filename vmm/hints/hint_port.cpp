// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_port.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/base/clock.hpp"

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
    : index_(index), doorbell_(std::move(doorbell)), plan_(plan), server_(channel) {
  server_.set_observer(nullptr, index); // batches name their channel, watched or not
}

void HintPort::set_observer(HintObserver& observer) {
  observer_ = &observer;
  server_.set_observer(&observer, index_);
}

void HintPort::tell_fault(const Batch& batch, abi::TraceFault fault) const {
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_fault(batch, fault);
  }
}

// What the plan holds for a batch, except what only its answer will show.
void HintPort::tell_faults_locked(const HeldBatch& held) const {
  switch (held.faults.fate) {
  case Fate::drop:
    return tell_fault(held.batch, abi::TraceFault::drop);
  case Fate::stall:
    return tell_fault(held.batch, abi::TraceFault::stall);
  case Fate::decline:
    tell_fault(held.batch, abi::TraceFault::decline);
    break;
  case Fate::fail:
    tell_fault(held.batch, abi::TraceFault::fail);
    break;
  case Fate::answer:
    if (held.faults.settles_ranges()) {
      tell_fault(held.batch, abi::TraceFault::partial);
    }
    break;
  }
  if (held.faults.delay_ns != 0) {
    tell_fault(held.batch, abi::TraceFault::delay);
  }
}

void HintPort::take_doorbell() {
  eventfd_t rings = 0;
  if (::eventfd_read(doorbell_.get(), &rings) != 0) {
    return;
  }
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_doorbell(index_, index_);
  }
  const std::scoped_lock lock(mutex_);
  ++totals_.doorbells;
}

void HintPort::count_doorbell() {
  const std::scoped_lock lock(mutex_);
  ++totals_.doorbells;
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
    held.settled_by_fault = 0;
    held.faults = plan_.decide(index_, next_number_++);
    totals_.doorbells_suppressed += silent_ ? 1U : 0U;
    totals_.max_held = std::max<std::uint64_t>(
        totals_.max_held, abi::ring_entries - static_cast<unsigned>(std::popcount(free_)));
    count_faults_locked(held.faults, Count::add);
    if (observer_ != nullptr) [[unlikely]] {
      tell_faults_locked(held);
    }
    return {&held, server_.has_submissions()};
  }
  return {};
}

// What the decision alone makes countable; the rest is counted when it is carried out.
void HintPort::count_faults_locked(const BatchFaults& faults, Count count) {
  const auto number = [count](std::uint64_t& total, bool happens) {
    total += !happens ? 0 : count == Count::add ? 1 : ~std::uint64_t{0};
  };
  number(totals_.faults.delayed, faults.delay_ns != 0 && !faults.never_answered());
  number(totals_.faults.dropped, faults.fate == Fate::drop);
  number(totals_.faults.stalled, faults.fate == Fate::stall);
  number(totals_.faults.declined, faults.fate == Fate::decline);
  number(totals_.faults.failed, faults.fate == Fate::fail);
}

void HintPort::set_faults(HeldBatch& held, const BatchFaults& faults) {
  const std::scoped_lock lock(mutex_);
  count_faults_locked(held.faults, Count::take_back);
  count_faults_locked(faults, Count::add);
  held.faults = faults;
  tell_faults_locked(held);
}

bool HintPort::has_submissions() {
  const std::scoped_lock lock(mutex_);
  return server_.has_submissions();
}

HintPort::Answered HintPort::answer(HeldBatch& held) {
  const std::scoped_lock lock(mutex_);
  if (held.faults.reorder && withheld_ == nullptr) {
    tell_fault(held.batch, abi::TraceFault::reorder);
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
  if (held.faults.repeat != Repeat::none) {
    tell_fault(held.batch, abi::TraceFault::duplicate);
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
  totals_.faults.partial_ranges += held.settled_by_fault;
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
