// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/adversary.hpp"

#include <poll.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "vmm/base/clock.hpp"
#include "vmm/hints/adversary/faulted_processing.hpp"
#include "vmm/hints/hint_totals.hpp"

namespace vmm {
namespace {

// An answer that is withheld to be overtaken comes by itself after this time.
constexpr std::uint64_t withheld_ns = 10'000'000;

// A batch that is never answered is discarded after this time, and again after twice as long and
// so on: the host may do so at any time, and a guest that uses the memory loses its data.
constexpr std::uint64_t first_late_discard_ns = 10'000'000;
constexpr std::uint64_t longest_discard_pause_ns = 1'000'000'000;

constexpr std::uint64_t ns_per_s = 1'000'000'000;

// What the decision alone makes countable; the rest is counted when it is carried out.
FaultCounters countable(const BatchFaults& faults) {
  FaultCounters counted;
  counted.delayed = faults.delay_ns != 0 && !faults.never_answered() ? 1 : 0;
  counted.dropped = faults.fate == Fate::drop ? 1 : 0;
  counted.stalled = faults.fate == Fate::stall ? 1 : 0;
  counted.declined = faults.fate == Fate::decline ? 1 : 0;
  counted.failed = faults.fate == Fate::fail ? 1 : 0;
  return counted;
}

} // namespace

Result<std::unique_ptr<Adversary>> Adversary::create(const GuestMemory& memory, unsigned channels,
                                                     const AdversaryOptions& options,
                                                     DiscardCalls& calls, HintEvents events,
                                                     FaultsByHand by_hand) {
  EBB_TRY_ASSIGN(delayed, DiscardEngine::create(memory, options.discard, calls));
  EBB_TRY_ASSIGN(dropped, DiscardEngine::create(memory, options.discard, calls));
  return std::unique_ptr<Adversary>(new Adversary(channels, options, std::move(events),
                                                  std::move(by_hand), std::move(delayed),
                                                  std::move(dropped)));
}

Adversary::Adversary(unsigned channels, const AdversaryOptions& options, HintEvents events,
                     FaultsByHand by_hand, DiscardEngine delayed, DiscardEngine dropped)
    : plan_(options.faults, options.seed), stop_fd_(options.stop_fd), events_(std::move(events)),
      by_hand_(std::move(by_hand)), delayed_({}, std::move(delayed)),
      dropped_({}, std::move(dropped)) {
  for (unsigned channel = 0; channel < channels; ++channel) {
    channels_.push_back(std::make_unique<Channel>());
  }
}

void Adversary::set_observer(HintObserver& observer, unsigned first_lane) {
  observer_ = &observer;
  for (const auto& channel : channels_) {
    channel->tricks.set_observer(observer);
  }
  delayed_.set_observer(&observer, first_lane);
  dropped_.set_observer(&observer, first_lane + 1);
}

Result<unsigned> Adversary::make_threads(const ThreadStart& on_start) {
  EBB_TRY(delays_.start(on_start)); // sleeps while there is nothing in it
  return 1;
}

void Adversary::configure(ManagedRange managed, const std::optional<HintChecker>& checker,
                          LateAnswers late) {
  delayed_.configure(managed, checker);
  dropped_.configure(managed, checker);
  late_ = late;
  configured_.store(true, std::memory_order_release);
}

void Adversary::intercept(HintPort& port, HeldBatch& held, BatchProcessor& processor) {
  Channel& channel = *channels_[port.index()];
  if (!configured_.load(std::memory_order_acquire)) {
    channel.faults[held.slot] = {};
    finish(port, held, processor);
    return;
  }
  const BatchFaults& faults = decide(channel, held);
  if (faults.never_answered()) {
    delays_.add(held.taken_ns + first_late_discard_ns,
                [this, &port, &held] { discard_late(port, held, first_late_discard_ns); });
    return;
  }
  if (faults.delay_ns != 0) {
    if (late_ == LateAnswers::taken) {
      // Discarded when it is answered, not before: the later, the sooner a guest is caught that
      // uses what is in flight.
      delays_.add(held.taken_ns + faults.delay_ns, [this, &port, &held] {
        finish(port, held, delayed_);
        tell_violation(delayed_);
      });
      return;
    }
    wait_on_vcpu_thread(faults.delay_ns);
  }
  finish(port, held, processor);
}

const BatchFaults& Adversary::decide(Channel& channel, HeldBatch& held) {
  BatchFaults& faults = channel.faults[held.slot];
  faults = plan_.decide(held.batch.channel, held.number);
  tell_faults(held.batch, faults);
  if (by_hand_) {
    const BatchFaults planned = faults;
    by_hand_(held.batch, faults);
    if (faults != planned) {
      tell_faults(held.batch, faults);
    }
    held.taken_ns = monotonic_ns(); // what took its time here is not the host
  }
  const std::scoped_lock lock(channel.mutex);
  channel.decided += countable(faults);
  return faults;
}

// What is in store for a batch, except what only its answer will show.
void Adversary::tell_faults(const Batch& batch, const BatchFaults& faults) const {
  if (observer_ == nullptr) [[likely]] {
    return;
  }
  switch (faults.fate) {
  case Fate::drop:
    return observer_->on_fault(batch, abi::TraceFault::drop);
  case Fate::stall:
    return observer_->on_fault(batch, abi::TraceFault::stall);
  case Fate::decline:
    observer_->on_fault(batch, abi::TraceFault::decline);
    break;
  case Fate::fail:
    observer_->on_fault(batch, abi::TraceFault::fail);
    break;
  case Fate::answer:
    if (faults.settles_ranges()) {
      observer_->on_fault(batch, abi::TraceFault::partial);
    }
    break;
  }
  if (faults.delay_ns != 0) {
    observer_->on_fault(batch, abi::TraceFault::delay);
  }
}

void Adversary::finish(HintPort& port, HeldBatch& held, BatchProcessor& processor) {
  Channel& channel = *channels_[port.index()];
  const BatchFaults& faults = channel.faults[held.slot];
  const std::uint32_t settled = process_faulted(processor, held.batch, faults);
  if (settled != 0) {
    const std::scoped_lock lock(channel.mutex);
    channel.decided.partial_ranges += settled;
  }
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_settled(held.batch);
  }
  const AnswerTricks::Answered answered = channel.tricks.answer(
      {.port = &port, .held = &held, .repeat = faults.repeat, .reorder = faults.reorder});
  if (answered.withheld_ticket && late_ == LateAnswers::taken) {
    delays_.add(monotonic_ns() + withheld_ns,
                [this, &port, &channel, ticket = *answered.withheld_ticket] {
                  if (channel.tricks.answer_withheld(ticket)) {
                    interrupt(port);
                  }
                });
  }
  if (answered.interrupt) {
    interrupt(port);
  }
}

// The batch never gives up its place among those in hand, as it keeps its descriptor page on the
// guest's side, so there are at most ring_entries of these per channel.
void Adversary::discard_late(HintPort& port, HeldBatch& held, std::uint64_t interval_ns) {
  process_faulted(dropped_, held.batch, channels_[port.index()]->faults[held.slot]);
  late_discards_.fetch_add(1, std::memory_order_relaxed);
  tell_violation(dropped_);
  const std::uint64_t next_ns = std::min(2 * interval_ns, longest_discard_pause_ns);
  delays_.add(monotonic_ns() + next_ns,
              [this, &port, &held, next_ns] { discard_late(port, held, next_ns); });
}

// Without late answers they are there when the doorbell returns, in whatever order.
void Adversary::before_return(HintPort& port) {
  if (late_ == LateAnswers::refused && channels_[port.index()]->tricks.answer_withheld()) {
    interrupt(port);
  }
}

void Adversary::wait_on_vcpu_thread(std::uint64_t duration_ns) const {
  const std::uint64_t end_ns = monotonic_ns() + duration_ns;
  pollfd stop{stop_fd_, POLLIN, 0}; // a negative one is not waited for
  for (std::uint64_t now_ns = monotonic_ns(); now_ns < end_ns; now_ns = monotonic_ns()) {
    const timespec left{static_cast<time_t>((end_ns - now_ns) / ns_per_s),
                        static_cast<long>((end_ns - now_ns) % ns_per_s)};
    if (::ppoll(&stop, 1, &left, nullptr) > 0) {
      return;
    } // else over, or a signal
  }
}

void Adversary::tell_violation(BatchProcessor& processor) const {
  if (const auto violation = processor.take_violation(); violation && events_.violation) {
    events_.violation(*violation);
  }
}

void Adversary::interrupt(const HintPort& port) const {
  if (events_.interrupt) {
    events_.interrupt(port.index());
  }
}

void Adversary::stop() {
  delays_.stop();
  for (const auto& channel : channels_) {
    static_cast<void>(channel->tricks.answer_withheld());
  }
}

void Adversary::add_to(HintTotals& totals) const {
  totals.add(delayed_);
  for (const auto& channel : channels_) {
    totals.faults += channel->tricks.counters();
    const std::scoped_lock lock(channel->mutex);
    totals.faults += channel->decided;
  }
  totals.late_discards += late_discards_.load(std::memory_order_relaxed);
}

} // namespace vmm
