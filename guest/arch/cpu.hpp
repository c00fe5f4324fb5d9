// SPDX-License-Identifier: MIT
// All inline assembly of the guest. Everything here works at CPL3.
#pragma once

#include <cstdint>

#include "guest/arch/gate.h"
#include "guest/arch/program.h"
#include "shared/address.hpp"
#include "shared/doorbell.hpp"
#include "shared/hypercall.hpp"

namespace guest::arch {

// The guest is identity mapped: a guest-physical address is its pointer.
template <typename T> [[nodiscard]] T* pointer_to(abi::Gpa gpa) {
  return reinterpret_cast<T*>(gpa.value);
}
[[nodiscard]] inline abi::Gpa address_of(const void* pointer) {
  return {reinterpret_cast<std::uint64_t>(pointer)};
}

// 32-bit port output; the TSS I/O bitmap opens the hypercall ports to CPL3. The host reads and
// writes memory meanwhile, hence the clobber.
inline void out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

// Time stamp counter. Not ordered against other instructions: good to some ten cycles.
inline std::uint64_t rdtsc() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (std::uint64_t{high} << 32) | low;
}

// Hint to a sibling thread and, in spin loops, to a pause-filtering host.
inline void pause() {
  asm volatile("pause");
}

// This vCPU's page; the host sets the GS base to it and its first field to its own address.
// Volatile: behind a switch of stacks a thread may be on another vCPU.
inline abi::VcpuPage& vcpu_page() {
  abi::VcpuPage* page = nullptr;
  asm volatile("movq %%gs:0, %0" : "=r"(page));
  return *page;
}
// That of any.
inline abi::VcpuPage& vcpu_page_of(unsigned vcpu) {
  return *pointer_to<abi::VcpuPage>({EBB_VCPU_PAGE_GPA + std::uint64_t{vcpu} * abi::page_bytes});
}

// Frame pointer of the calling function, for backtraces.
[[gnu::always_inline]] inline const std::uint64_t* frame_pointer() {
  const std::uint64_t* frame = nullptr;
  asm volatile("movq %%rbp, %0" : "=r"(frame));
  return frame;
}

// Registers of the caller at the call, but for RDI (guest/arch/registers.S).
extern "C" void read_registers(abi::PanicRegisters* registers);

// What set_alarm() has asked for.
inline std::uint64_t& alarm() {
  return *pointer_to<std::uint64_t>({address_of(&vcpu_page()).value + EBB_PROGRAM_ALARM});
}

// Sets the vCPU's one timer. Needs feature_interrupt.
inline void set_timer(std::uint64_t deadline) {
  std::uint64_t function = EBB_GATE_ALARM;
  asm volatile("int3" : "+a"(function) : "D"(deadline) : "rcx", "rdx", "memory", "cc");
}

// Has the timer do what set_alarm() has asked for, after something else has used it.
inline void arm_alarm() {
  if (alarm() != 0) {
    set_timer(alarm());
  }
}

// Has the program's own code interrupted when the TSC reaches `deadline`; 0: never. Needs
// feature_interrupt.
inline void set_alarm(std::uint64_t deadline) {
  alarm() = deadline;
  arm_alarm();
}

// Whether a signal or a stream's being ready has come from outside for a vCPU and nobody has taken
// it. The reads are not moved over a halt.
inline bool is_something_sent(const volatile abi::VcpuPage& page) {
  return page.signals_sent != 0 || page.streams_ready != 0;
}

// Halts this vCPU until an interrupt comes, at the latest when the TSC reaches `deadline` (0: no
// deadline). Returns at once if an interrupt has come since the last call. Needs feature_interrupt.
//
// It uses up the timer, and the interrupt of whatever came. The program may go on without another
// look outside (a page fault that has waited for memory), so it is interrupted again for that.
inline void halt_until(std::uint64_t deadline) {
  std::uint64_t function = EBB_GATE_HALT;
  asm volatile("int3" : "+a"(function) : "D"(deadline) : "rcx", "rdx", "memory", "cc");
  if (is_something_sent(vcpu_page())) {
    set_timer(rdtsc() + EBB_INTERRUPT_AGAIN_TICKS);
  } else {
    arm_alarm();
  }
}

// Rings the doorbell with a hypercall; `function` is EBB_GATE_VMCALL or EBB_GATE_VMMCALL. Needs
// feature_vmcall.
inline void doorbell_call(std::uint64_t function, const abi::DoorbellCall& call) {
  asm volatile("int3"
               : "+a"(function)
               : "b"(call.gpa), "c"(call.pages), "d"(call.attributes)
               : "memory", "cc");
}

// Ends the halt of vCPU `index`, or its next one. Needs feature_interrupt.
inline void wake_vcpu(unsigned index) {
  std::uint64_t function = EBB_GATE_WAKE;
  asm volatile("int3" : "+a"(function) : "D"(std::uint64_t{index}) : "rcx", "rdx", "memory", "cc");
}

// Makes the compiler believe that `value` is used and changed; benchmark loops need it.
inline void keep(std::uint64_t& value) {
  asm volatile("" : "+r"(value));
}

} // namespace guest::arch
