// SPDX-License-Identifier: MIT
#include "vmm/vcpu/crash_report.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/core.h>

#include "vmm/base/printable.hpp"

namespace vmm {

namespace {

constexpr std::uint64_t page_fault_vector = 14;

// The general registers, four lines; for crashes and panics alike.
std::string general_registers(const abi::PanicRegisters& regs) {
  return fmt::format("rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n"
                     "rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}\n"
                     "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\n"
                     "r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}",
                     regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rsp,
                     regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15);
}

std::string describe_internal_error(const kvm_run& run) {
  std::string_view suberror = "other";
  switch (run.internal.suberror) {
  case KVM_INTERNAL_ERROR_EMULATION:
    suberror = "KVM cannot emulate this instruction";
    break;
  case KVM_INTERNAL_ERROR_SIMUL_EX:
    suberror = "exception while delivering an exception";
    break;
  case KVM_INTERNAL_ERROR_DELIVERY_EV:
    suberror = "exit while delivering an event";
    break;
  default:
    break;
  }
  std::string text = fmt::format("KVM_EXIT_INTERNAL_ERROR {}: {}", run.internal.suberror, suberror);
  const std::uint32_t words = std::min<std::uint32_t>(run.internal.ndata, 16);
  for (std::uint32_t index = 0; index < words; ++index) {
    text += fmt::format("{}{:#x}", index == 0 ? " data " : " ", run.internal.data[index]);
  }
  return text;
}

} // namespace

std::string describe_exit(const kvm_run& run) {
  switch (run.exit_reason) {
  case KVM_EXIT_SHUTDOWN:
    return "KVM_EXIT_SHUTDOWN (triple fault)";
  case KVM_EXIT_FAIL_ENTRY:
    return fmt::format("KVM_EXIT_FAIL_ENTRY: hardware reason {:#x} on CPU {}",
                       run.fail_entry.hardware_entry_failure_reason, run.fail_entry.cpu);
  case KVM_EXIT_INTERNAL_ERROR:
    return describe_internal_error(run);
  case KVM_EXIT_MMIO:
    return fmt::format("access to unmapped guest-physical address {:#x}, {} byte {}",
                       run.mmio.phys_addr, run.mmio.len, run.mmio.is_write != 0 ? "write" : "read");
  case KVM_EXIT_IO:
    return fmt::format("{} of {} x {} bytes on unknown port {:#x}",
                       run.io.direction == KVM_EXIT_IO_OUT ? "output" : "input", run.io.count,
                       run.io.size, run.io.port);
  case KVM_EXIT_HLT:
    return "KVM_EXIT_HLT: halted with nothing to wake it";
  case KVM_EXIT_EXCEPTION:
    return fmt::format("KVM_EXIT_EXCEPTION {}", run.ex.exception);
  case KVM_EXIT_DEBUG:
    return "KVM_EXIT_DEBUG";
  case KVM_EXIT_HYPERCALL:
    return fmt::format("KVM_EXIT_HYPERCALL {}", run.hypercall.nr);
  case KVM_EXIT_SYSTEM_EVENT:
    return fmt::format("KVM_EXIT_SYSTEM_EVENT {}", run.system_event.type);
  default:
    return fmt::format("unknown exit reason {}", run.exit_reason);
  }
}

std::string dump_registers(const Vcpu& vcpu, const Symbols& symbols) {
  const auto regs = vcpu.registers();
  const auto sregs = vcpu.system_registers();
  if (!regs || !sregs) {
    return "registers cannot be read";
  }
  const std::string general = general_registers({.rax = regs->rax,
                                                 .rbx = regs->rbx,
                                                 .rcx = regs->rcx,
                                                 .rdx = regs->rdx,
                                                 .rsi = regs->rsi,
                                                 .rdi = regs->rdi,
                                                 .rbp = regs->rbp,
                                                 .rsp = regs->rsp,
                                                 .r8 = regs->r8,
                                                 .r9 = regs->r9,
                                                 .r10 = regs->r10,
                                                 .r11 = regs->r11,
                                                 .r12 = regs->r12,
                                                 .r13 = regs->r13,
                                                 .r14 = regs->r14,
                                                 .r15 = regs->r15});
  return fmt::format("rip {}\n{}\n"
                     "rflags {:08x} cs {:04x} ss {:04x} cr0 {:08x} cr2 {:x} cr3 {:x} cr4 {:x} "
                     "efer {:x}",
                     symbols.describe(regs->rip), general, regs->rflags, sregs->cs.selector,
                     sregs->ss.selector, sregs->cr0, sregs->cr2, sregs->cr3, sregs->cr4,
                     sregs->efer);
}

std::string describe_panic(const abi::PanicRecord& record, const Symbols& symbols) {
  const std::size_t length =
      static_cast<std::size_t>(std::ranges::find(record.message, '\0') - record.message);
  std::string text = printable({record.message, length});
  if (record.vector != abi::panic_by_software) {
    text += fmt::format(" (vector {}, error code {:#x}", record.vector, record.error_code);
    text += record.vector == page_fault_vector
                ? fmt::format(", address {:#x})", record.fault_address)
                : ")";
  }
  if (record.vector != abi::panic_by_software) {
    text += fmt::format("\n  at {} rsp {:#x}", symbols.describe(record.rip), record.rsp);
  }
  const std::size_t frames = std::min<std::uint64_t>(record.frame_count, abi::panic_frames);
  for (std::size_t index = 0; index < frames; ++index) {
    // A return address lies behind its call, which may be the last instruction of its function.
    text += fmt::format("\n  by {}", symbols.describe(record.frames[index] - 1));
  }
  // A guest older than 1.2 leaves them out.
  if (record.register_bytes >= sizeof(abi::PanicRegisters)) {
    const abi::PanicRegisters& regs = record.registers;
    text +=
        fmt::format("\nrip {}\n{}\nrflags {:08x} cs {:04x} ss {:04x}", symbols.describe(regs.rip),
                    general_registers(regs), regs.rflags, regs.cs, regs.ss);
    if (record.vector != abi::panic_by_software) {
      text += fmt::format(" cr2 {:x}", record.fault_address);
    }
  }
  return text;
}

} // namespace vmm
