// SPDX-License-Identifier: MIT
// Who sees or holds a vCPU between guest and host: a debugger or the stepper. A runner has one or
// none; everything here is called on the vCPU's own thread.
#pragma once

#include <cstdint>

namespace vmm {

// Why a guest is about to end by its own fault.
enum class FatalEnd : std::uint8_t {
  panic, // it found its own invariant broken
  crash, // it can go no further
};

class VcpuHook {
 public:
  VcpuHook() = default;
  VcpuHook(const VcpuHook&) = delete;
  VcpuHook& operator=(const VcpuHook&) = delete;
  virtual ~VcpuHook() = default;

  // True: the vCPU may enter the guest now, and after_exit() follows. False: it may not, after
  // waiting or at once, and the runner looks whether the guest has ended. May take back a request
  // to stop that stands in `immediate_exit` (of the vCPU's kvm_run), its own or another's.
  [[nodiscard]] virtual bool before_entry(unsigned vcpu, std::uint8_t& immediate_exit) = 0;
  // KVM_RUN has returned.
  virtual void after_exit(unsigned /*vcpu*/) {}

  // The vCPU has written to EBB_PORT_DEBUG. False: nobody who may do that did.
  [[nodiscard]] virtual bool on_debug_port(unsigned /*vcpu*/) { return false; }
  // An output of the guest's to any port of ours was dealt with.
  virtual void after_output(unsigned /*vcpu*/) {}
  // The guest is about to end. Returns when it may.
  virtual void before_end(unsigned /*vcpu*/, FatalEnd /*why*/) {}
};

} // namespace vmm
