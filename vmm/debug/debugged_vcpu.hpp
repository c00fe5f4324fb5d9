// SPDX-License-Identifier: MIT
// One vCPU under a debugger: its registers, its traps, its steps.
//
// KVM_SET_GUEST_DEBUG does nothing for code at CPL3 on kvm_pvm, so breakpoints are int3 in guest
// memory and steps the trap flag, on every KVM. Both end in a stub of the host's (debug_stubs.S) at
// CPL0, on a stack of its own. From there the vCPU is put back to where it was, with RIP at the
// trapping instruction: a debugger never sees the stub. What was not meant for it (the guest's gate
// into ring 0 is an int3, too) is handed to the guest's own stub, as if the processor had gone
// there.
//
// Everything here is for the thread that may use the vCPU: its own outside of KVM_RUN, or the
// debugger's while it is held.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/boot/boot_state.hpp"
#include "vmm/debug/debug_registers.hpp"
#include "vmm/debug/guest_view.hpp"
#include "vmm/kvm/kvm.hpp"

namespace vmm {

// A trap that has arrived in the host's stub.
struct DebugTrap {
  std::uint8_t vector = 0;
  std::uint64_t error_code = 0;
  std::uint64_t rip = 0; // as the processor pushed it
  bool stepping = false; // the trap flag was set
};

class DebuggedVcpu {
 public:
  // All references outlive the object. The vCPU has its boot registers.
  static Result<DebuggedVcpu> create(const Vcpu& vcpu, const GuestView& view,
                                     const VcpuStacks& stacks, abi::Gpa debug_stack_high,
                                     std::uint64_t trap_stubs_gpa, TssType tss);

  // Lets the next KVM_RUN enter the guest, and shows what another thread did before it forbade that
  // (set immediate_exit by an exchange).
  void allow_entry() const;
  // Completes what the last exit has left to be done, so that the registers are what the guest will
  // see next (api.rst, 5., KVM_EXIT_IO). Call it before anything else after an exit. False when
  // KVM comes back with anything else.
  [[nodiscard]] bool finish_exit();

  // The trap whose stub the vCPU is in. Empty when it is not in one, or in no way in which it can
  // have got there from CPL3.
  [[nodiscard]] std::optional<DebugTrap> trap() const;
  // Only with a trap(): back to CPL3, RIP at `rip`, not stepping.
  [[nodiscard]] Result<void> rewind(const DebugTrap& trap, std::uint64_t rip);
  // Only with a trap(): on to the guest's own stub.
  [[nodiscard]] Result<void> pass_on(const DebugTrap& trap);
  // The same later, for a trap that was rewound to the instruction that caused it.
  [[nodiscard]] Result<void> raise(const DebugTrap& trap);

  // The next trap for that reason comes after one instruction at CPL3. Code of ring 0 that the vCPU
  // is in is finished first.
  [[nodiscard]] Result<void> begin_step();
  [[nodiscard]] Result<void> cancel_step();

  [[nodiscard]] Result<KvmRegisters> registers() const;
  // General registers, RIP and flags only at CPL3: false when they differ in ring 0.
  [[nodiscard]] Result<bool> set_registers(const KvmRegisters& registers);
  [[nodiscard]] Result<bool> is_in_ring_0() const;
  [[nodiscard]] Result<std::uint64_t> cr3() const;

 private:
  // What the processor pushes, lowest address first.
  struct Frame {
    std::uint64_t rip, cs, rflags, rsp, ss;
  };

  DebuggedVcpu(const Vcpu& vcpu, const GuestView& view, abi::Gpa trap_high, abi::Gpa debug_high,
               std::uint64_t trap_stubs_gpa, const kvm_sregs& user)
      : vcpu_(&vcpu), view_(&view), trap_high_(trap_high), debug_high_(debug_high),
        trap_stubs_gpa_(trap_stubs_gpa), user_code_(user.cs), user_stack_(user.ss), task_(user.tr) {
  }

  [[nodiscard]] Result<Frame> frame_at(abi::Gpa gpa) const;
  [[nodiscard]] Result<void> enter_guest_stub(const DebugTrap& trap, const Frame& frame,
                                              kvm_regs regs);
  [[nodiscard]] Result<void> set_trap_flag(bool on);
  [[nodiscard]] Result<void> set_system_registers(kvm_sregs sregs) const;

  const Vcpu* vcpu_;
  const GuestView* view_;
  abi::Gpa trap_high_;
  abi::Gpa debug_high_;
  std::uint64_t trap_stubs_gpa_;
  kvm_segment user_code_;
  kvm_segment user_stack_;
  kvm_segment task_;          // as it was set: KVM does not give back what it was given (TssType)
  kvm_segment kernel_code_{}; // as a trap has left them
  kvm_segment kernel_stack_{};
};

} // namespace vmm
