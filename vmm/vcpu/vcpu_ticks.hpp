// SPDX-License-Identifier: MIT
// Who looks at vCPUs by the clock: a profile. A runner has one or none; everything here is called
// on the vCPU's own thread.
#pragma once

#include <cstdint>

namespace vmm {

// What a vCPU's thread has just done.
enum class VcpuTurn : std::uint8_t {
  guest, // has been in KVM_RUN
  host,  // has dealt with what brought it out
  held,  // has waited until it may go on
};

class VcpuTicks {
 public:
  VcpuTicks() = default;
  VcpuTicks(const VcpuTicks&) = delete;
  VcpuTicks& operator=(const VcpuTicks&) = delete;
  virtual ~VcpuTicks() = default;

  // Often; mostly nothing is due. Changes nothing of the vCPU.
  virtual void look(unsigned vcpu, VcpuTurn turn) = 0;
};

} // namespace vmm
