// SPDX-License-Identifier: MIT
// Running a Linux program: entering it, and what its system calls hand over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/arch/cpu.hpp"
#include "guest/arch/program.h"
#include "guest/arch/trap.hpp"
#include "guest/arch/vdso_clock.hpp"

namespace guest::arch {

// A system call as guest/arch/program_entry.S pushes it (lowest address first).
struct ProgramCall {
  std::uint64_t kept[6]; // RBX, RBP, R12 to R15
  std::uint64_t number;
  std::uint64_t args[6];
  std::uint64_t flags, rip, rsp; // rip: where to go on, and may be changed
};
static_assert(offsetof(ProgramCall, args) == 56);
static_assert(offsetof(ProgramCall, rip) == 112);
static_assert(sizeof(ProgramCall) == 128);

// JMP *%gs:EBB_PROGRAM_ENTER: what a patched site enters the kernel with.
inline constexpr std::array<std::uint8_t, 8> enter_kernel{
    0x65, 0xff, 0x24, 0x25, EBB_PROGRAM_ENTER & 0xff, EBB_PROGRAM_ENTER >> 8, 0, 0};
static_assert(EBB_PROGRAM_ENTER < 0x10000);

// The vdso (guest/vdso); its clock is yet to be set. Page aligned it is not.
extern "C" std::byte vdso_image[EBB_VDSO_BYTES];

extern "C" void program_enter_kernel(); // guest/arch/program_entry.S

// Goes to the program's first instruction; its calls arrive in program_call(), on the caller's
// stack. Needs feature_files.
extern "C" [[noreturn]] void program_enter(std::uint64_t instruction, std::uint64_t stack);

// Who is called for traps of this vCPU outside the guest's own code, on the kernel's stack. Where
// it returns, the program goes on as the frame says then, and with that extended state: in the
// standard form of XSAVE, EBB_EXTENDED_STATE_BYTES.
using TrapHandler = void (*)(TrapFrame&, std::byte* extended_state);
inline TrapHandler& program_trap_handler() {
  return *pointer_to<TrapHandler>({address_of(&vcpu_page()).value + EBB_PROGRAM_TRAP});
}

// Has the call at hand go on by program_diverted(), which gets what a TrapHandler gets.
inline void divert_program() {
  *pointer_to<std::uint32_t>({address_of(&vcpu_page()).value + EBB_PROGRAM_DIVERTED}) = 1;
}

// Whether interrupts cannot reach the program; going on by program_diverted() lets them.
inline bool program_is_masked() {
  return *pointer_to<const std::uint32_t>({address_of(&vcpu_page()).value + EBB_PROGRAM_MASKED}) !=
         0;
}

// Not 0: that vCPU is to leave the program's code, where interrupts reach it.
inline std::uint32_t& program_is_called(unsigned vcpu) {
  return *pointer_to<std::uint32_t>({address_of(&vcpu_page_of(vcpu)).value + EBB_PROGRAM_CALLED});
}

// Has the patched sites of a program enter the kernel on this vCPU, too.
inline void take_program_calls() {
  *pointer_to<std::uint64_t>({address_of(&vcpu_page()).value + EBB_PROGRAM_ENTER}) =
      reinterpret_cast<std::uint64_t>(&program_enter_kernel);
}

// Features that XSAVE stores (XCR0), and the bytes that they take; below EBB_EXTENDED_STATE_BYTES.
struct ExtendedFeatures {
  std::uint64_t mask = 0;
  std::uint32_t bytes = 0;
};
inline ExtendedFeatures extended_features() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  std::uint32_t bytes = 0;
  std::uint32_t leaf = 0xd;
  std::uint32_t subleaf = 0;
  asm volatile("cpuid" : "+a"(leaf), "=b"(bytes), "+c"(subleaf) : : "rdx");
  return {(std::uint64_t{high} << 32) | low, bytes};
}

// Makes the processor forget what it has read of the page tables.
inline void flush_translations() {
  std::uint64_t function = EBB_GATE_FLUSH;
  asm volatile("int3" : "+a"(function) : : "rdx", "memory", "cc");
}

// What a program finds its thread's data by (FS base).
inline void set_thread_pointer(std::uint64_t address) {
  asm volatile("wrfsbase %0" : : "r"(address));
}
inline std::uint64_t thread_pointer() {
  std::uint64_t address = 0;
  asm volatile("rdfsbase %0" : "=r"(address));
  return address;
}

extern "C" void page_fault_landing(); // guest/arch/page_fault.S

// From now on the calling vCPU's page faults arrive in program_page_fault(), on a stack of their
// own that ends at `stack_top`, a multiple of 16, and are tried again when it returns; what it
// changed in the frame is in force then.
inline void take_page_faults(std::uint64_t stack_top) {
  const std::uint64_t page = address_of(&vcpu_page()).value;
  *pointer_to<std::uint64_t>({page + EBB_FAULT_STACK}) = stack_top;
  *pointer_to<std::uint64_t>({page + EBB_FAULT_LANDING}) =
      reinterpret_cast<std::uint64_t>(&page_fault_landing);
}

} // namespace guest::arch
