// SPDX-License-Identifier: MIT
// An interrupt line to each vCPU, raised by the host when there is something new for it.
#pragma once

#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/kvm/kvm.hpp"

namespace vmm {

class WakeLines {
 public:
  // None: waking does nothing.
  WakeLines() = default;

  // A line to each of `vcpus` vCPUs, which exist, of a VM with an interrupt controller.
  [[nodiscard]] static Result<WakeLines> create(const Vm& vm, unsigned vcpus);

  // Any thread.
  void wake(unsigned vcpu) const;
  void wake_all() const;

 private:
  std::vector<UniqueFd> events_; // a write to one wakes its vCPU
};

} // namespace vmm
