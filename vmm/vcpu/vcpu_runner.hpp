// SPDX-License-Identifier: MIT
// The loop of a vCPU thread: KVM_RUN, look at why it came back, act, go on.
#pragma once

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
#include "vmm/vcpu/vcpu_ticks.hpp"

namespace vmm {

// Written by the vCPU's thread, readable by any.
struct ExitCounters {
  Counter total; // returns from KVM_RUN other than kicks
  Counter hypercalls;
  Counter doorbells;
  Counter vmcalls; // doorbells among them that came as a hypercall
};

// What a vCPU's exits lead to, the same for all vCPUs. All of it outlives the runners.
struct VcpuSurroundings {
  Hypercalls& hypercalls;
  HintService& hints;
  GuestEnd& end;
  const Symbols& symbols;
  HintObserver* observer = nullptr; // null: nobody watches the doorbell
  const Oracle* oracle = nullptr;   // null: none is asked
  VcpuHook* hook = nullptr;         // null: nobody holds the vCPU
  VcpuTicks* ticks = nullptr;       // null: nobody looks at it by the clock
};

class VcpuRunner {
 public:
  // `vcpu` outlives the runner.
  VcpuRunner(const Vcpu& vcpu, unsigned index, const VcpuSurroundings& around)
      : vcpu_(vcpu), index_(index), around_(around) {}

  // Runs the vCPU until the guest ends. Whatever cannot go on ends the guest.
  void run();

  [[nodiscard]] const ExitCounters& exits() const { return exits_; }

 private:
  [[nodiscard]] int enter_guest();
  void handle_exit();
  void let_look(VcpuTurn turn) {
    if (around_.ticks != nullptr) [[unlikely]] {
      around_.ticks->look(index_, turn);
    }
  }
  // While one is there the hook may hold the vCPU.
  class Held {
   public:
    explicit Held(VcpuRunner& runner) : runner_(runner) { runner_.let_look(VcpuTurn::host); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { runner_.let_look(VcpuTurn::held); }

   private:
    VcpuRunner& runner_;
  };
  [[nodiscard]] bool handle_output();
  [[nodiscard]] bool handle_doorbell_call();
  void ring_doorbell(std::uint32_t channel);
  [[nodiscard]] std::string describe_forbidden_access() const;
  void crash(const std::string& what);

  const Vcpu& vcpu_;
  const unsigned index_;
  const VcpuSurroundings around_;
  ExitCounters exits_;
  unsigned refusals_ = 0; // of KVM_RUN, with EAGAIN, in a row
};

} // namespace vmm
