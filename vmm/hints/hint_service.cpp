// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_service.hpp"

#include <sys/eventfd.h>

#include "shared/abi_version.hpp"
#include "shared/layout.h"

namespace vmm {

Result<std::unique_ptr<HintService>>
HintService::create(const GuestMemory& memory, unsigned channels, const HintServiceOptions& options,
                    DiscardCalls& calls, HintEvents events,
                    std::unique_ptr<BatchInterceptor> interceptor, HintObserver* observer) {
  std::unique_ptr<HintService> service(
      new HintService(memory, options, std::move(events), std::move(interceptor), observer));
  EBB_TRY(service->open(channels, calls));
  if (observer != nullptr) {
    service->hand_out_observer();
  }
  return service;
}

Result<void> HintService::open(unsigned channels, DiscardCalls& calls) {
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
    ports_.push_back(std::make_unique<HintPort>(index, *channel, std::move(doorbell)));
    EBB_TRY_ASSIGN(engine, DiscardEngine::create(memory_, options_.discard, calls));
    vcpu_servers_.push_back(std::make_unique<VcpuServer>(std::move(engine)));
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
    EBB_TRY_ASSIGN(engine, DiscardEngine::create(memory_, options_.discard, calls));
    worker_processors_.push_back(
        std::make_unique<BatchProcessor>(ManagedRange{}, std::move(engine)));
  }
  return {};
}

Result<unsigned> HintService::make_threads(const ThreadStart& on_start) {
  unsigned threads = workers_ ? workers_->make_threads(on_start) : 0;
  if (interceptor_) {
    EBB_TRY_ASSIGN(more, interceptor_->make_threads(on_start));
    threads += more;
  }
  return threads;
}

void HintService::configure(const abi::GuestHello& hello, HintCheck check) {
  if ((hello.features_accepted & abi::feature_report) == 0) {
    return; // what it hints all the same is answered as failed, as before the hello
  }
  const ManagedRange managed{{hello.managed_start_gpa}, memory_.end(), memory_.hole()};
  std::optional<HintChecker> checker;
  if (check == HintCheck::audit) {
    checker.emplace(memory_, abi::Gpa{hello.tags_gpa}, abi::Pfn{hello.tags_first_pfn});
  }
  for (const auto& server : vcpu_servers_) {
    const std::scoped_lock lock(server->mutex);
    server->processor.configure(managed, checker);
  }
  for (const auto& processor : worker_processors_) {
    processor->configure(managed, checker);
  }
  const LateAnswers late = (hello.features_accepted & abi::feature_async) != 0
                               ? LateAnswers::taken
                               : LateAnswers::refused;
  if (interceptor_) {
    interceptor_->configure(managed, checker, late);
  }
  if (workers_ && late == LateAnswers::taken) {
    // Before the threads go on, which look at it.
    mode_.store(options_.mode, std::memory_order_release);
    if (!workers_->start(options_.mode)) {
      mode_.store(HostMode::sync, std::memory_order_release);
    }
  }
}

// A lane for every processor: channels', workers', and then the interceptor's.
void HintService::hand_out_observer() const {
  unsigned lane = 0;
  for (const auto& port : ports_) {
    port->set_observer(*observer_);
  }
  for (const auto& server : vcpu_servers_) {
    server->processor.set_observer(observer_, lane++);
  }
  for (const auto& processor : worker_processors_) {
    processor->set_observer(observer_, lane++);
  }
  if (interceptor_) {
    interceptor_->set_observer(*observer_, lane);
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
  VcpuServer& server = *vcpu_servers_[channel];
  const std::scoped_lock lock(server.mutex);
  // A guest that goes on submitting meanwhile is served by the next call.
  for (unsigned served = 0; served < abi::ring_entries; ++served) {
    if (!serve_one(port, server.processor)) {
      break;
    }
  }
  if (interceptor_) [[unlikely]] {
    interceptor_->before_return(port);
  }
  return server.processor.take_violation();
}

// Takes one batch and sees to its answer. False: nothing to take.
bool HintService::serve_one(HintPort& port, BatchProcessor& processor) {
  const HintPort::Taken taken = port.take();
  if (taken.held == nullptr) {
    return false;
  }
  const bool by_worker = mode() != HostMode::sync;
  if (by_worker && taken.more && workers_->count() > 1) {
    workers_->hand_off();
  }
  if (interceptor_) [[unlikely]] {
    interceptor_->intercept(port, *taken.held, processor);
  } else {
    processor.process(taken.held->batch);
    if (observer_ != nullptr) [[unlikely]] {
      observer_->on_settled(taken.held->batch);
    }
    if (port.answer(*taken.held).interrupt) {
      interrupt(port);
    }
  }
  if (by_worker && events_.violation) {
    if (const auto violation = processor.take_violation()) {
      events_.violation(*violation);
    }
  }
  return true;
}

void HintService::interrupt(const HintPort& port) const {
  if (events_.interrupt) {
    events_.interrupt(port.index());
  }
}

void HintService::stop() {
  if (workers_) {
    workers_->stop();
  }
  if (interceptor_) {
    interceptor_->stop();
  }
}

HintTotals HintService::totals() const {
  HintTotals totals;
  for (const auto& server : vcpu_servers_) {
    totals.add(server->processor);
  }
  for (const auto& processor : worker_processors_) {
    totals.add(*processor);
  }
  for (const auto& port : ports_) {
    totals.add(port->totals());
  }
  totals.worker_sleeps = workers_ ? workers_->sleeps() : 0;
  totals.worker_naps = workers_ ? workers_->back_offs() : 0;
  if (interceptor_) {
    interceptor_->add_to(totals);
  }
  return totals;
}

} // namespace vmm
