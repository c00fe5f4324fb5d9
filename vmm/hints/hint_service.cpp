// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_service.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <ctime>

#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "vmm/base/clock.hpp"
#include "vmm/base/start_thread.hpp"

namespace vmm {
namespace {

// An answer that is withheld to be overtaken comes by itself after this time.
constexpr std::uint64_t withheld_ns = 10'000'000;

// A batch that is never answered is discarded after this time, and again after twice as long and
// so on: the host may do so at any time, and a guest that uses the memory loses its data.
constexpr std::uint64_t first_late_discard_ns = 10'000'000;
constexpr std::uint64_t longest_discard_pause_ns = 1'000'000'000;

constexpr std::uint64_t ns_per_s = 1'000'000'000;

} // namespace

Result<std::unique_ptr<HintService>> HintService::create(const GuestMemory& memory,
                                                         unsigned channels,
                                                         const HintServiceOptions& options,
                                                         DiscardCalls& calls, HintEvents events) {
  std::unique_ptr<HintService> service(new HintService(memory, options, std::move(events)));
  EBB_TRY(service->open(channels, calls));
  return service;
}

Result<void> HintService::open(unsigned channels, DiscardCalls& calls) {
  const auto make_processor = [&]() -> Result<std::unique_ptr<FaultyProcessor>> {
    EBB_TRY_ASSIGN(engine, DiscardEngine::create(memory_, options_.discard, calls));
    return std::make_unique<FaultyProcessor>(std::move(engine));
  };
  for (unsigned index = 0; index < channels; ++index) {
    auto* const channel = memory_.object_at<abi::Channel>(
        {EBB_CHANNEL_GPA + std::uint64_t{index} * EBB_CHANNEL_BYTES});
    if (channel == nullptr) {
      return environment_error("report channel {} lies outside guest memory", index);
    }
    UniqueFd doorbell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!doorbell.valid()) {
      return system_error("cannot make the doorbell of report channel {}", index);
    }
    ports_.push_back(std::make_unique<HintPort>(index, *channel, std::move(doorbell), plan_));
    EBB_TRY_ASSIGN(engine, DiscardEngine::create(memory_, options_.discard, calls));
    seats_.push_back(std::make_unique<Seat>(std::move(engine)));
  }
  if (may_postpone()) {
    EBB_TRY_ASSIGN(delayed, make_processor());
    delayed_ = std::move(delayed);
    EBB_TRY_ASSIGN(dropped, make_processor());
    dropped_ = std::move(dropped);
  }
  if (options_.mode == HostMode::sync) {
    return {};
  }
  EBB_TRY_ASSIGN(workers, HintWorkers::create(ports_, options_.workers,
                                              [this](unsigned worker, HintPort& port) {
                                                return serve_one(port, *worker_processors_[worker]);
                                              }));
  workers_ = std::move(workers);
  for (unsigned worker = 0; worker < workers_->count(); ++worker) {
    EBB_TRY_ASSIGN(processor, make_processor());
    worker_processors_.push_back(std::move(processor));
  }
  return {};
}

Result<unsigned> HintService::prepare_threads(const ThreadStart& on_start) {
  prepared_ = true;
  unsigned threads = 0;
  if (workers_) {
    threads += workers_->prepare(on_start);
  }
  if (may_postpone()) {
    // Sleeps while there is nothing in it.
    EBB_TRY(start_thread("postponed answers", [&] { delays_.start(on_start); }));
    ++threads;
  }
  return threads;
}

Result<void> HintService::configure(const abi::GuestHello& hello, HintCheck check) {
  if ((hello.features_accepted & abi::feature_report) == 0) {
    return {}; // what it hints all the same is answered as failed, as before the hello
  }
  const ManagedRange managed{{hello.managed_start_gpa}, memory_.end(), memory_.hole()};
  std::optional<HintChecker> checker;
  if (check == HintCheck::audit) {
    checker.emplace(memory_, abi::Gpa{hello.tags_gpa}, abi::Pfn{hello.tags_first_pfn});
  }
  for (const auto& seat : seats_) {
    const std::scoped_lock lock(seat->mutex);
    seat->processor.configure(managed, checker);
  }
  for (const auto& processor : worker_processors_) {
    processor->configure(managed, checker);
  }
  may_defer_ = (hello.features_accepted & abi::feature_async) != 0;
  if (may_postpone()) {
    delayed_->configure(managed, checker);
    dropped_->configure(managed, checker);
    if (!prepared_) {
      EBB_TRY(start_thread("postponed answers", [this] { delays_.start(); }));
    }
  }
  if (may_defer_ && workers_) {
    // Before its threads, which look at it.
    mode_.store(options_.mode, std::memory_order_release);
    if (!workers_->start(options_.mode)) {
      mode_.store(HostMode::sync, std::memory_order_release);
    }
  }
  return {};
}

void HintService::set_observer(HintObserver& observer) {
  // A lane for every processor: channels', workers', the one of postponed answers and the one of
  // batches that are never answered.
  unsigned lane = 0;
  observer_ = &observer;
  for (const auto& port : ports_) {
    port->set_observer(observer);
  }
  for (const auto& seat : seats_) {
    seat->processor.set_observer(observer, lane++);
  }
  for (const auto& processor : worker_processors_) {
    processor->set_observer(observer, lane++);
  }
  if (delayed_) {
    delayed_->set_observer(observer, lane++);
    dropped_->set_observer(observer, lane);
  }
}

std::optional<HintViolation> HintService::serve(std::uint32_t channel) {
  if (channel >= ports_.size()) {
    return std::nullopt;
  }
  HintPort& port = *ports_[channel];
  if (mode() != HostMode::sync) {
    port.ring_doorbell();
    return std::nullopt;
  }
  port.count_doorbell();
  Seat& seat = *seats_[channel];
  const std::scoped_lock lock(seat.mutex);
  // A guest that goes on submitting meanwhile is served by the next call.
  for (unsigned served = 0; served < abi::ring_entries; ++served) {
    if (!serve_one(port, seat.processor)) {
      break;
    }
  }
  // Without feature_async the answers are there when the doorbell returns, in whatever order.
  if (!may_defer_ && port.answer_withheld()) {
    interrupt(port);
  }
  return seat.processor.take_violation();
}

// Takes one batch and sees to its answer, now or later. False: nothing to take.
bool HintService::serve_one(HintPort& port, FaultyProcessor& processor) {
  const HintPort::Taken taken = port.take();
  if (taken.held == nullptr) {
    return false;
  }
  if (taken.more && mode() != HostMode::sync && workers_->count() > 1) {
    workers_->hand_off();
  }
  HeldBatch& held = *taken.held;
  if (events_.taken) [[unlikely]] {
    offer(port, held);
  }
  if (held.faults.never_answered()) {
    delays_.add(held.taken_ns + first_late_discard_ns,
                [this, &port, &held] { discard_late(port, held, first_late_discard_ns); });
    return true;
  }
  if (held.faults.delay_ns != 0) {
    if (may_defer_) {
      // Discarded when it is answered, not before: the later, the sooner a guest is caught that
      // uses what is in flight.
      delays_.add(held.taken_ns + held.faults.delay_ns, [this, &port, &held] {
        finish(port, held, *delayed_);
        tell_violation(*delayed_);
      });
      return true;
    }
    wait_on_vcpu_thread(held.faults.delay_ns);
  }
  finish(port, held, processor);
  if (mode() != HostMode::sync) {
    tell_violation(processor);
  }
  return true;
}

void HintService::offer(HintPort& port, HeldBatch& held) const {
  BatchFaults faults = held.faults;
  events_.taken(held.batch, faults);
  if (faults != held.faults) {
    port.set_faults(held, faults);
  }
  held.taken_ns = monotonic_ns(); // what took its time here is not the host
}

void HintService::finish(HintPort& port, HeldBatch& held, FaultyProcessor& processor) {
  processor.process(held);
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_settled(held.batch);
  }
  const HintPort::Answered answered = port.answer(held);
  if (answered.disposal == HintPort::Disposal::withheld && may_defer_) {
    delays_.add(monotonic_ns() + withheld_ns, [this, &port, ticket = answered.ticket] {
      if (port.answer_withheld(ticket)) {
        interrupt(port);
      }
    });
  }
  if (answered.interrupt) {
    interrupt(port);
  }
}

// The batch keeps its place among the held ones for ever, as it keeps its descriptor page on the
// guest's side, so there are at most ring_entries of these per channel.
void HintService::discard_late(HintPort& port, HeldBatch& held, std::uint64_t interval_ns) {
  dropped_->process(held);
  late_discards_.fetch_add(1, std::memory_order_relaxed);
  tell_violation(*dropped_);
  const std::uint64_t next_ns = std::min(2 * interval_ns, longest_discard_pause_ns);
  delays_.add(monotonic_ns() + next_ns,
              [this, &port, &held, next_ns] { discard_late(port, held, next_ns); });
}

void HintService::tell_violation(FaultyProcessor& processor) const {
  if (const auto violation = processor.take_violation(); violation && events_.violation) {
    events_.violation(*violation);
  }
}

void HintService::interrupt(const HintPort& port) const {
  if (events_.interrupt) {
    events_.interrupt(port.index());
  }
}

void HintService::wait_on_vcpu_thread(std::uint64_t duration_ns) const {
  const std::uint64_t end_ns = monotonic_ns() + duration_ns;
  pollfd stop{options_.stop_fd, POLLIN, 0}; // a negative one is not waited for
  for (std::uint64_t now_ns = monotonic_ns(); now_ns < end_ns; now_ns = monotonic_ns()) {
    const timespec left{static_cast<time_t>((end_ns - now_ns) / ns_per_s),
                        static_cast<long>((end_ns - now_ns) % ns_per_s)};
    if (::ppoll(&stop, 1, &left, nullptr) > 0) {
      return;
    } // else over, or a signal
  }
}

void HintService::stop() {
  if (workers_) {
    workers_->stop();
  }
  delays_.stop();
  for (const auto& port : ports_) {
    static_cast<void>(port->answer_withheld());
  }
}

HintTotals HintService::totals() const {
  HintTotals totals;
  const auto add_processor = [&totals](const FaultyProcessor& faulty) {
    const DiscardCounters& discard = faulty.processor().engine().counters();
    const BatchValidator& validator = faulty.processor().validator();
    totals.ranges += validator.accepted_hints();
    totals.failed_ranges += validator.rejected_ranges();
    totals.bytes += discard.asked_bytes.value();
    totals.discarded_bytes += discard.discarded_bytes.value();
    totals.declined_bytes += discard.declined_bytes.value();
    totals.span_extra_bytes += discard.span_extra_bytes.value();
    totals.lazily_freed_bytes += discard.lazily_freed_bytes.value();
    totals.discard_calls += discard.calls.value();
    totals.discard_retries += discard.retries.value();
    totals.partial_discards += discard.partial_calls.value();
    totals.failed_discards += discard.failed_ranges.value();
    totals.host_ns += discard.host_ns.value();
  };
  for (const auto& seat : seats_) {
    add_processor(seat->processor);
  }
  for (const auto& processor : worker_processors_) {
    add_processor(*processor);
  }
  if (delayed_) {
    add_processor(*delayed_);
  }
  for (const auto& port : ports_) {
    const PortTotals channel = port->totals();
    totals.batches += channel.batches;
    totals.protocol_errors += channel.protocol_errors;
    totals.doorbells += channel.doorbells;
    totals.doorbells_suppressed += channel.doorbells_suppressed;
    totals.interrupts += channel.interrupts;
    totals.faults += channel.faults;
    totals.channels.push_back(channel);
  }
  totals.worker_sleeps = workers_ ? workers_->sleeps() : 0;
  totals.worker_naps = workers_ ? workers_->naps() : 0;
  totals.late_discards = late_discards_.load(std::memory_order_relaxed);
  return totals;
}

} // namespace vmm
