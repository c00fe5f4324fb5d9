// SPDX-License-Identifier: MIT
#include "vmm/debug/debug_registers.hpp"

#include <algorithm>
#include <cstring>

namespace vmm {

namespace {

// In the order of DebugRegisters::general.
constexpr std::array<decltype(kvm_regs::rax) kvm_regs::*, 16> general_order{
    &kvm_regs::rax, &kvm_regs::rbx, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rsi, &kvm_regs::rdi,
    &kvm_regs::rbp, &kvm_regs::rsp, &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
    &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};
constexpr std::array<kvm_segment kvm_sregs::*, 6> segment_order{
    &kvm_sregs::cs, &kvm_sregs::ss, &kvm_sregs::ds, &kvm_sregs::es, &kvm_sregs::fs, &kvm_sregs::gs};

enum X87Control : std::size_t { fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop };

// The tag word has two bits a register (3: empty); FXSAVE and KVM keep one (1: in use).
constexpr unsigned x87_registers = 8;
constexpr std::uint32_t tag_empty = 3;

std::uint32_t full_tags(std::uint8_t in_use) {
  std::uint32_t tags = 0;
  for (unsigned index = 0; index < x87_registers; ++index) {
    tags |= (in_use >> index & 1U) != 0 ? 0 : tag_empty << 2 * index;
  }
  return tags;
}

std::uint8_t short_tags(std::uint32_t tags) {
  std::uint8_t in_use = 0;
  for (unsigned index = 0; index < x87_registers; ++index) {
    const bool used = (tags >> 2 * index & tag_empty) != tag_empty;
    in_use = static_cast<std::uint8_t>(in_use | (used ? 1U : 0U) << index);
  }
  return in_use;
}

// Bits of RFLAGS that a debugger may set: arithmetic, direction and the like. Trap and interrupt
// flag belong to the one who steps and to ring 0.
constexpr std::uint32_t changeable_flags = 0x0dd5 & ~0x300U;

} // namespace

DebugRegisters to_debug(const KvmRegisters& from) {
  DebugRegisters to;
  for (std::size_t index = 0; index < general_order.size(); ++index) {
    to.general[index] = from.general.*general_order[index];
  }
  to.rip = from.general.rip;
  to.eflags = static_cast<std::uint32_t>(from.general.rflags);
  for (std::size_t index = 0; index < segment_order.size(); ++index) {
    to.segments[index] = (from.system.*segment_order[index]).selector;
  }
  for (std::size_t index = 0; index < to.x87.size(); ++index) {
    std::memcpy(to.x87[index].data(), from.fpu.fpr[index], to.x87[index].size());
  }
  to.x87_control[fctrl] = from.fpu.fcw;
  to.x87_control[fstat] = from.fpu.fsw;
  to.x87_control[ftag] = full_tags(from.fpu.ftwx);
  to.x87_control[fioff] = static_cast<std::uint32_t>(from.fpu.last_ip);
  to.x87_control[fooff] = static_cast<std::uint32_t>(from.fpu.last_dp);
  to.x87_control[fop] = from.fpu.last_opcode;
  for (std::size_t index = 0; index < to.xmm.size(); ++index) {
    std::memcpy(to.xmm[index].data(), from.fpu.xmm[index], to.xmm[index].size());
  }
  to.mxcsr = from.fpu.mxcsr;
  to.fs_base = from.system.fs.base;
  to.gs_base = from.system.gs.base;
  to.control = {from.system.cr0, from.system.cr2, from.system.cr3, from.system.cr4,
                from.system.efer};
  return to;
}

bool apply(const DebugRegisters& from, KvmRegisters& to) {
  const DebugRegisters now = to_debug(to);
  if (from.segments != now.segments || from.control != now.control) {
    return false;
  }
  for (std::size_t index = 0; index < general_order.size(); ++index) {
    to.general.*general_order[index] = from.general[index];
  }
  to.general.rip = from.rip;
  to.general.rflags =
      (to.general.rflags & ~std::uint64_t{changeable_flags}) | (from.eflags & changeable_flags);
  for (std::size_t index = 0; index < from.x87.size(); ++index) {
    std::memcpy(to.fpu.fpr[index], from.x87[index].data(), from.x87[index].size());
  }
  to.fpu.fcw = static_cast<std::uint16_t>(from.x87_control[fctrl]);
  to.fpu.fsw = static_cast<std::uint16_t>(from.x87_control[fstat]);
  to.fpu.ftwx = short_tags(from.x87_control[ftag]);
  to.fpu.last_opcode = static_cast<std::uint16_t>(from.x87_control[fop]);
  for (std::size_t index = 0; index < from.xmm.size(); ++index) {
    std::memcpy(to.fpu.xmm[index], from.xmm[index].data(), from.xmm[index].size());
  }
  to.fpu.mxcsr = from.mxcsr;
  to.system.fs.base = from.fs_base;
  to.system.gs.base = from.gs_base;
  return true;
}

} // namespace vmm
