// SPDX-License-Identifier: MIT
#include "vmm/hint_service.hpp"

#include "shared/layout.h"

namespace vmm {

Result<HintService> HintService::create(const GuestMemory& memory, unsigned channels,
                                        const DiscardOptions& options, DiscardCalls& calls) {
  HintService service(memory);
  for (unsigned index = 0; index < channels; ++index) {
    auto* const channel = memory.object_at<abi::Channel>(
        {EBB_CHANNEL_GPA + std::uint64_t{index} * EBB_CHANNEL_BYTES});
    if (channel == nullptr) {
      return environment_error("report channel {} lies outside guest memory", index);
    }
    EBB_TRY_ASSIGN(engine, DiscardEngine::create(memory, options, calls));
    service.ports_.push_back(std::make_unique<Port>(*channel, std::move(engine)));
  }
  return service;
}

void HintService::configure(const abi::GuestHello& hello, HintCheck check) {
  const ManagedRange managed{{hello.managed_start_gpa}, {memory_->size_bytes()}};
  for (const auto& port : ports_) {
    const std::scoped_lock lock(port->mutex);
    port->processor.set_managed(managed);
    if (check == HintCheck::audit) {
      port->processor.set_hint_checker(
          HintChecker(*memory_, {hello.tags_gpa}, {hello.tags_first_pfn}));
    }
  }
}

void HintService::set_observer(HintObserver& observer) {
  for (std::uint32_t channel = 0; channel < ports_.size(); ++channel) {
    ports_[channel]->server.set_observer(&observer, channel);
    ports_[channel]->processor.set_observer(&observer, channel);
  }
}

std::optional<HintViolation> HintService::serve(std::uint32_t channel) {
  if (channel >= ports_.size()) {
    return std::nullopt;
  }
  Port& port = *ports_[channel];
  const std::scoped_lock lock(port.mutex);
  port.server.serve(port.processor);
  if (port.processor.violation() && !port.violation_told) {
    port.violation_told = true;
    return port.processor.violation();
  }
  return std::nullopt;
}

HintTotals HintService::totals() const {
  HintTotals totals;
  for (const auto& port : ports_) {
    const ChannelCounters& channel = port->server.counters();
    const DiscardCounters& discard = port->processor.engine().counters();
    const BatchValidator& validator = port->processor.validator();
    totals.batches += channel.batches_taken.value();
    totals.ranges += validator.accepted_hints();
    totals.failed_ranges += validator.rejected_ranges();
    totals.bytes += discard.asked_bytes.value();
    totals.discarded_bytes += discard.discarded_bytes.value();
    totals.declined_bytes += discard.declined_bytes.value();
    totals.span_extra_bytes += discard.span_extra_bytes.value();
    totals.lazily_freed_bytes += discard.lazily_freed_bytes.value();
    totals.discard_calls += discard.calls.value();
    totals.host_ns += discard.host_ns.value();
    totals.protocol_errors += channel.bad_submissions.value() + channel.ring_overruns.value() +
                              channel.dropped_answers.value();
  }
  return totals;
}

} // namespace vmm
