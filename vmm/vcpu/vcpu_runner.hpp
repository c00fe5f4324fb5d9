// SPDX-License-Identifier: MIT
// The loop of a vCPU thread: KVM_RUN, look at why it came back, act, go on.
#pragma once

#include <atomic>
#include <cstdint>

#include "vmm/base/counter.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/hint_service.hpp"
#include "vmm/hints/oracle.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/hypercalls.hpp"
#include "vmm/vcpu/vcpu_hook.hpp"

namespace vmm {

// Written by the vCPU's thread, readable by any.
struct ExitCounters {
  Counter total; // returns from KVM_RUN other than kicks
  Counter hypercalls;
  Counter doorbells;
  Counter vmcalls; // doorbells among them that came as a hypercall
};

class VcpuRunner {
 public:
  // All references outlive the runner.
  VcpuRunner(const Vcpu& vcpu, unsigned index, Hypercalls& hypercalls, HintService& hints,
             GuestEnd& end, const Symbols& symbols)
      : vcpu_(vcpu), index_(index), hypercalls_(hypercalls), hints_(hints), end_(end),
        symbols_(symbols) {}

  // Runs the vCPU until the guest ends. Whatever cannot go on ends the guest.
  void run();

  // Makes run() look at GuestEnd soon, also when the vCPU is about to enter the guest. Any
  // thread; follow it with a signal to the vCPU's thread, in case it is inside KVM_RUN.
  void request_stop();

  // Before run(). Null: nobody watches the doorbell; the observer outlives the runner.
  void set_observer(HintObserver* observer) { observer_ = observer; }
  // Before run(). Null: nobody holds the vCPU; the hook outlives the runner.
  void set_hook(VcpuHook* hook) { hook_ = hook; }

  // Before run(). Null: none is asked; the oracle outlives the runner.
  void set_oracle(const Oracle* oracle) { oracle_ = oracle; }

  [[nodiscard]] const ExitCounters& exits() const { return exits_; }

 private:
  [[nodiscard]] int enter_guest();
  void handle_exit();
  [[nodiscard]] bool handle_output();
  [[nodiscard]] bool handle_doorbell_call();
  void ring_doorbell(std::uint32_t channel);
  [[nodiscard]] std::string describe_forbidden_access() const;
  void crash(const std::string& what);

  const Vcpu& vcpu_;
  unsigned index_;
  Hypercalls& hypercalls_;
  HintService& hints_;
  GuestEnd& end_;
  const Symbols& symbols_;
  ExitCounters exits_;
  unsigned refusals_ = 0; // of KVM_RUN, with EAGAIN, in a row
  HintObserver* observer_ = nullptr;
  const Oracle* oracle_ = nullptr;
  VcpuHook* hook_ = nullptr;
};

} // namespace vmm
