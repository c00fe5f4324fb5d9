// SPDX-License-Identifier: MIT
#include "vmm/kvm/wake_lines.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "shared/layout.h"

namespace vmm {

Result<std::unique_ptr<WakeLines>> WakeLines::create(const Vm& vm, unsigned vcpus) {
  std::vector<UniqueFd> events;
  for (unsigned index = 0; index < vcpus; ++index) {
    UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event.valid()) {
      return system_error("cannot make the eventfd that wakes vCPU {}", index);
    }
    EBB_TRY(vm.bind_interrupt(event.get(), index));
    events.push_back(std::move(event));
  }
  EBB_TRY(vm.route_lines_to_vcpus(vcpus, EBB_WAKE_VECTOR));
  return std::make_unique<WakeLines>(std::move(events));
}

void WakeLines::wake(unsigned vcpu) const {
  if (vcpu < events_.size() && allowed_.load(std::memory_order_acquire)) {
    // A counter that is full has an interrupt pending that nobody took: nothing is lost.
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(events_[vcpu].get(), &one, sizeof one);
  }
}

void WakeLines::wake_all() const {
  for (unsigned index = 0; index < events_.size(); ++index) {
    wake(index);
  }
}

} // namespace vmm
