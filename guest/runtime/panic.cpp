// SPDX-License-Identifier: MIT
#include "guest/runtime/panic.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/format.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/print.hpp"

namespace guest {

namespace {

// Set by the first panic: formatting or flushing may be what is broken, so a panic within a panic
// only reports its address.
constinit std::atomic<bool> panicking{false};

void set_message(abi::PanicRecord& record, std::string_view text) {
  const std::size_t count = std::min(text.size(), abi::panic_message_bytes - 1);
  std::copy_n(text.data(), count, record.message);
  record.message[count] = '\0';
}

// At the trap.
abi::PanicRegisters registers_of(const arch::TrapFrame& frame) {
  return {.rax = frame.rax,
          .rbx = frame.rbx,
          .rcx = frame.rcx,
          .rdx = frame.rdx,
          .rsi = frame.rsi,
          .rdi = frame.rdi,
          .rbp = frame.rbp,
          .rsp = frame.rsp,
          .r8 = frame.r8,
          .r9 = frame.r9,
          .r10 = frame.r10,
          .r11 = frame.r11,
          .r12 = frame.r12,
          .r13 = frame.r13,
          .r14 = frame.r14,
          .r15 = frame.r15,
          .rip = frame.rip,
          .rflags = frame.rflags,
          .cs = frame.cs,
          .ss = frame.ss};
}

void set_registers(abi::PanicRecord& record, const abi::PanicRegisters& registers) {
  record.registers = registers;
  record.register_bytes = sizeof registers;
}

// Follows saved frame pointers as long as they stay on this vCPU's stack and go upwards.
void collect_frames(abi::PanicRecord& record, const std::uint64_t* frame) {
  const abi::VcpuPage& page = arch::vcpu_page();
  while (record.frame_count < abi::panic_frames) {
    const std::uint64_t at = arch::address_of(frame).value;
    if (at < page.stack_low_gpa || at % sizeof(std::uint64_t) != 0 ||
        at > page.stack_high_gpa - 2 * sizeof(std::uint64_t)) {
      return;
    }
    if (frame[1] == 0) {
      return; // the host "called" the first function
    }
    record.frames[record.frame_count++] = frame[1];
    const auto* const caller = arch::pointer_to<const std::uint64_t>({frame[0]});
    if (caller <= frame) {
      return;
    }
    frame = caller;
  }
}

[[noreturn]] void report(abi::PanicRecord& record) {
  if (!panicking.exchange(true)) {
    console_flush();
  }
  hypercall::panic(record);
}

} // namespace

void panic_args(fmt::string_view format, fmt::format_args args) {
  abi::PanicRegisters registers;
  arch::read_registers(&registers);
  abi::PanicRecord record;
  set_registers(record, registers);
  record.vector = abi::panic_by_software;
  if (!panicking.load()) {
    std::array<char, abi::panic_message_bytes> text; // NOLINT
    set_message(record, format_into(text, format, args));
  } else {
    set_message(record, "panic while panicking");
  }
  collect_frames(record, arch::frame_pointer());
  report(record);
}

void panic_text(const char* message) {
  abi::PanicRegisters registers;
  arch::read_registers(&registers);
  abi::PanicRecord record;
  set_registers(record, registers);
  record.vector = abi::panic_by_software;
  set_message(record, message);
  collect_frames(record, arch::frame_pointer());
  report(record);
}

void panic_on_trap(const arch::TrapFrame& frame) {
  abi::PanicRecord record;
  record.vector = frame.vector;
  record.error_code = frame.error_code;
  record.fault_address = frame.cr2;
  record.rip = frame.rip;
  record.rsp = frame.rsp;
  set_registers(record, registers_of(frame));
  set_message(record, arch::vector_name(frame.vector));
  collect_frames(record, arch::pointer_to<const std::uint64_t>({frame.rbp}));
  report(record);
}

} // namespace guest

// Called by guest/arch/trap_landing.S, on the trap stack.
extern "C" [[noreturn]] void trap_panic(const guest::arch::TrapFrame* frame) {
  guest::panic_on_trap(*frame);
}
