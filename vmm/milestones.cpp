// SPDX-License-Identifier: MIT
#include "vmm/milestones.hpp"

namespace vmm {

void Milestones::on_call(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) {
  if (TraceRecorder* const trace = parts_.watch.trace(); trace != nullptr) [[unlikely]] {
    trace->hypercall(vcpu, call, argument);
  }
  if (parts_.stepper != nullptr) [[unlikely]] {
    parts_.stepper->at_hypercall(vcpu, call, argument);
  }
}

void Milestones::on_hello(const abi::GuestHello& hello) {
  if (const auto watched = parts_.watch.on_hello(hello); !watched) {
    parts_.end.end({EndKind::crashed, 0, "guest crash: " + watched.error().message});
    return;
  }
  if ((hello.features_accepted & abi::feature_interrupt) != 0) {
    parts_.guest.allow_wake_ups();
  }
  parts_.hints.service().configure(hello, check_);
  if (TraceRecorder* const trace = parts_.watch.trace(); trace != nullptr) {
    trace->host_mode(parts_.hints.service().mode(), workers_);
  }
  // The allocator's metadata lies below what it manages and is touched as thinly as the rest of the
  // low area. Only advice: failing costs memory, not correctness.
  [[maybe_unused]] const auto advised =
      parts_.guest.memory().set_small_page_prefix({hello.managed_start_gpa});
  parts_.hints.control().set_reader((hello.features_accepted & abi::feature_retune) != 0
                                        ? ControlReader::present
                                        : ControlReader::absent);
  bind_doorbells();
}

// Where workers serve, rings need not leave the kernel.
void Milestones::bind_doorbells() const {
  const HintService& service = parts_.hints.service();
  if (service.mode() == HostMode::sync || transport_ != Transport::ioeventfd) {
    return;
  }
  for (unsigned channel = 0; channel < parts_.guest.plan().vcpus; ++channel) {
    // Without the binding doorbells arrive as exits, which are dearer but work.
    [[maybe_unused]] const auto bound =
        parts_.guest.bind_doorbell(service.doorbell_fd(channel), channel);
  }
}

} // namespace vmm
