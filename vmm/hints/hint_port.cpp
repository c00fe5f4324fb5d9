// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_port.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/base/clock.hpp"

namespace vmm {

HintPort::HintPort(unsigned index, abi::Channel& channel, UniqueFd doorbell)
    : index_(index), doorbell_(std::move(doorbell)), server_(channel) {
  server_.set_observer(nullptr, index); // batches name their channel, watched or not
  for (unsigned slot = 0; slot < held_.size(); ++slot) {
    held_[slot].slot = slot;
  }
}

void HintPort::set_observer(HintObserver& observer) {
  observer_ = &observer;
  server_.set_observer(&observer, index_);
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
    held.number = next_number_++;
    totals_.doorbells_suppressed += silent_ ? 1U : 0U;
    totals_.max_held = std::max<std::uint64_t>(
        totals_.max_held, abi::ring_entries - static_cast<unsigned>(std::popcount(free_)));
    return {&held, server_.has_submissions()};
  }
  return {};
}

bool HintPort::has_submissions() {
  const std::scoped_lock lock(mutex_);
  return server_.has_submissions();
}

HintPort::Answered HintPort::answer(HeldBatch& held) {
  const std::scoped_lock lock(mutex_);
  count_answer_locked(held);
  // The slot is free before the guest can see the answer: its next batch may come at once.
  free_ |= 1U << held.slot;
  const AnswerResult result = server_.answer(held.batch);
  const bool interrupt = server_.interrupt_wanted();
  totals_.interrupts += interrupt ? 1U : 0U;
  return {result, interrupt};
}

bool HintPort::repeat_answer(const abi::CompletionEntry& answer) {
  const std::scoped_lock lock(mutex_);
  return server_.repeat_answer(answer);
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
  totals_.latency.add(monotonic_ns() - held.taken_ns);
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
