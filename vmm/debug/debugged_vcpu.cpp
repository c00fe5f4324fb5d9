// SPDX-License-Identifier: MIT
#include "vmm/debug/debugged_vcpu.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <span>

#include "shared/layout.h"

namespace vmm {

namespace {

constexpr std::uint64_t flag_trap = 1U << 8;
constexpr std::uint64_t flag_interrupts = 1U << 9;
constexpr std::uint64_t flag_nested_task = 1U << 14;
constexpr std::uint64_t flag_resume = 1U << 16;
constexpr unsigned exceptions = 32;
constexpr std::uint64_t privilege_mask = 3;

// Vectors 8, 10...14, 17, 21, 29 and 30 come with an error code (SDM vol. 3, 6.15; AMD APM vol. 2,
// 8.2).
constexpr std::uint32_t with_error_code = 1U << 8 | 0x1fU << 10 | 1U << 17 | 1U << 21 | 3U << 29;

bool has_error_code(std::uint8_t vector) {
  return (with_error_code >> vector & 1U) != 0;
}

Error lost_memory() {
  return {ErrorClass::environment, "the guest's trap stack cannot be used"};
}

} // namespace

Result<DebuggedVcpu> DebuggedVcpu::create(const Vcpu& vcpu, const GuestView& view,
                                          const VcpuStacks& stacks, abi::Gpa debug_stack_high,
                                          std::uint64_t trap_stubs_gpa, TssType tss) {
  EBB_TRY_ASSIGN(sregs, vcpu.system_registers());
  sregs.tr.type = static_cast<std::uint8_t>(tss);
  return DebuggedVcpu(vcpu, view, stacks.trap_high, debug_stack_high, trap_stubs_gpa, sregs);
}

Result<void> DebuggedVcpu::set_system_registers(kvm_sregs sregs) const {
  sregs.tr = task_;
  return vcpu_->set_system_registers(sregs);
}

void DebuggedVcpu::allow_entry() const {
  std::atomic_ref(vcpu_->state().immediate_exit).exchange(0, std::memory_order_acq_rel);
}

bool DebuggedVcpu::finish_exit() {
  std::atomic_ref(vcpu_->state().immediate_exit).exchange(1, std::memory_order_acq_rel);
  const int error = vcpu_->run();
  return error == EINTR || error == EAGAIN;
}

Result<DebuggedVcpu::Frame> DebuggedVcpu::frame_at(abi::Gpa gpa) const {
  Frame frame{};
  if (!view_->read_physical(gpa, std::as_writable_bytes(std::span(&frame, 1)))) {
    return std::unexpected(lost_memory());
  }
  return frame;
}

std::optional<DebugTrap> DebuggedVcpu::trap() const {
  const auto regs = vcpu_->registers();
  const auto sregs = vcpu_->system_registers();
  if (!regs || !sregs || (sregs->cs.selector & privilege_mask) != 0) {
    return std::nullopt;
  }
  const std::uint64_t offset = regs->rip - EBB_DEBUG_CODE_GPA; // wraps to a large number below it
  if (offset >= std::uint64_t{exceptions} * EBB_TRAP_STUB_BYTES) {
    return std::nullopt;
  }
  DebugTrap trap;
  trap.vector = static_cast<std::uint8_t>(offset / EBB_TRAP_STUB_BYTES);
  const std::uint64_t error_bytes = has_error_code(trap.vector) ? sizeof trap.error_code : 0;
  const std::uint64_t frame_gpa = debug_high_.value - sizeof(Frame);
  if (regs->rsp != frame_gpa - error_bytes) {
    return std::nullopt;
  }
  const auto frame = frame_at({frame_gpa});
  if (!frame || (frame->cs & privilege_mask) == 0 ||
      (error_bytes != 0 && !view_->read_physical({regs->rsp}, std::as_writable_bytes(std::span(
                                                                  &trap.error_code, 1))))) {
    return std::nullopt;
  }
  trap.rip = frame->rip;
  trap.stepping = (frame->rflags & flag_trap) != 0;
  return trap;
}

Result<void> DebuggedVcpu::rewind(const DebugTrap& /*trap*/, std::uint64_t rip) {
  EBB_TRY_ASSIGN(regs, vcpu_->registers());
  EBB_TRY_ASSIGN(sregs, vcpu_->system_registers());
  EBB_TRY_ASSIGN(frame, frame_at({debug_high_.value - sizeof(Frame)}));
  kernel_code_ = sregs.cs;
  kernel_stack_ = sregs.ss;
  sregs.cs = user_code_;
  sregs.ss = user_stack_;
  regs.rip = rip;
  regs.rsp = frame.rsp;
  regs.rflags = frame.rflags & ~(flag_trap | flag_resume);
  EBB_TRY(set_system_registers(sregs));
  return vcpu_->set_registers(regs);
}

Result<void> DebuggedVcpu::pass_on(const DebugTrap& trap) {
  EBB_TRY_ASSIGN(regs, vcpu_->registers());
  EBB_TRY_ASSIGN(frame, frame_at({debug_high_.value - sizeof(Frame)}));
  return enter_guest_stub(trap, frame, regs);
}

Result<void> DebuggedVcpu::raise(const DebugTrap& trap) {
  EBB_TRY_ASSIGN(regs, vcpu_->registers());
  EBB_TRY_ASSIGN(sregs, vcpu_->system_registers());
  const Frame frame{regs.rip, sregs.cs.selector, regs.rflags, regs.rsp, sregs.ss.selector};
  sregs.cs = kernel_code_;
  sregs.ss = kernel_stack_;
  EBB_TRY(set_system_registers(sregs));
  regs.rflags &= ~(flag_trap | flag_interrupts | flag_nested_task | flag_resume);
  return enter_guest_stub(trap, frame, regs);
}

// As the processor would: at the top of the trap stack, which a trap from CPL3 always starts at.
Result<void> DebuggedVcpu::enter_guest_stub(const DebugTrap& trap, const Frame& frame,
                                            kvm_regs regs) {
  regs.rsp = trap_high_.value - sizeof frame;
  if (!view_->write_physical({regs.rsp}, std::as_bytes(std::span(&frame, 1)))) {
    return std::unexpected(lost_memory());
  }
  if (has_error_code(trap.vector)) {
    regs.rsp -= sizeof trap.error_code;
    if (!view_->write_physical({regs.rsp}, std::as_bytes(std::span(&trap.error_code, 1)))) {
      return std::unexpected(lost_memory());
    }
  }
  regs.rip = trap_stubs_gpa_ + std::uint64_t{trap.vector} * EBB_TRAP_STUB_BYTES;
  return vcpu_->set_registers(regs);
}

Result<void> DebuggedVcpu::begin_step() {
  return set_trap_flag(true);
}

Result<void> DebuggedVcpu::cancel_step() {
  return set_trap_flag(false);
}

// The flag that counts is the one that CPL3 goes on with: in ring 0 that in the frame which the
// stub will return by.
Result<void> DebuggedVcpu::set_trap_flag(bool on) {
  const auto changed = [on](std::uint64_t flags) {
    return on ? flags | flag_trap : flags & ~flag_trap;
  };
  EBB_TRY_ASSIGN(in_ring_0, is_in_ring_0());
  EBB_TRY_ASSIGN(regs, vcpu_->registers());
  if (!in_ring_0) {
    regs.rflags = changed(regs.rflags);
    return vcpu_->set_registers(regs);
  }
  const std::uint64_t frame_gpa = trap_high_.value - sizeof(Frame);
  if (regs.rsp > frame_gpa || regs.rsp < trap_high_.value - trap_stack_bytes) {
    return {}; // not on the trap stack: a guest that is ending
  }
  EBB_TRY_ASSIGN(frame, frame_at({frame_gpa}));
  frame.rflags = changed(frame.rflags);
  if (!view_->write_physical({frame_gpa}, std::as_bytes(std::span(&frame, 1)))) {
    return std::unexpected(lost_memory());
  }
  return {};
}

Result<KvmRegisters> DebuggedVcpu::registers() const {
  EBB_TRY_ASSIGN(general, vcpu_->registers());
  EBB_TRY_ASSIGN(system, vcpu_->system_registers());
  EBB_TRY_ASSIGN(fpu, vcpu_->fpu_registers());
  return KvmRegisters{general, system, fpu};
}

Result<bool> DebuggedVcpu::set_registers(const KvmRegisters& registers) {
  EBB_TRY_ASSIGN(now, this->registers());
  const auto differs = [](const auto& left, const auto& right) {
    return std::memcmp(&left, &right, sizeof left) != 0;
  };
  if (differs(now.general, registers.general)) {
    if ((now.system.cs.selector & privilege_mask) == 0) {
      return false;
    }
    EBB_TRY(vcpu_->set_registers(registers.general));
  }
  if (differs(now.system, registers.system)) {
    EBB_TRY(set_system_registers(registers.system));
  }
  if (differs(now.fpu, registers.fpu)) {
    EBB_TRY(vcpu_->set_fpu_registers(registers.fpu));
  }
  return true;
}

Result<bool> DebuggedVcpu::is_in_ring_0() const {
  EBB_TRY_ASSIGN(sregs, vcpu_->system_registers());
  return (sregs.cs.selector & privilege_mask) == 0;
}

Result<std::uint64_t> DebuggedVcpu::cr3() const {
  EBB_TRY_ASSIGN(sregs, vcpu_->system_registers());
  return sregs.cr3;
}

} // namespace vmm
