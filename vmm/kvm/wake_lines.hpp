// SPDX-License-Identifier: MIT
// An interrupt line to each vCPU, raised by the host when there is something new for it. An
// interrupt that a guest does not expect can be its end, so none is raised before it has agreed.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/kvm/kvm.hpp"

namespace vmm {

class WakeLines {
 public:
  // A line to each of `vcpus` vCPUs, which exist, of a VM with an interrupt controller.
  [[nodiscard]] static Result<std::unique_ptr<WakeLines>> create(const Vm& vm, unsigned vcpus);
  // `events` raise the interrupts of vCPUs 0...
  explicit WakeLines(std::vector<UniqueFd> events) : events_(std::move(events)) {}

  // The guest has accepted feature_interrupt. Any thread.
  void allow() { allowed_.store(true, std::memory_order_release); }

  // Nothing before allow(). Any thread.
  void wake(unsigned vcpu) const;
  void wake_all() const;

 private:
  const std::vector<UniqueFd> events_; // a write to one wakes its vCPU
  std::atomic<bool> allowed_{false};
};

} // namespace vmm
