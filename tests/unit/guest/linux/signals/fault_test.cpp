// SPDX-License-Identifier: MIT
#include "guest/linux/signals/fault.hpp"

#include <array>
#include <csignal>
#include <cstddef>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

SignalCause cause_of(std::uint64_t vector, Resolution resolution = Resolution::unmapped) {
  Registers registers;
  registers.vector = vector;
  registers.rip = 0x401000;
  registers.fault_address = 0x123;
  return fault_cause(registers, resolution, {.x87_status = 1, .mxcsr = 1});
}

// What comes of exceptions that are set and not masked, of x87 and of SSE.
std::int32_t x87_code(std::uint16_t control, std::uint16_t status) {
  Registers registers;
  registers.vector = 16;
  return fault_cause(registers, Resolution::unmapped,
                     {.x87_control = control, .x87_status = status})
      .code;
}
std::int32_t sse_code(std::uint32_t mxcsr) {
  Registers registers;
  registers.vector = 19;
  return fault_cause(registers, Resolution::unmapped, {.mxcsr = mxcsr}).code;
}

struct Expected {
  std::uint64_t vector;
  std::uint64_t signal;
  std::int32_t code;
  std::uint64_t address;
};

} // namespace

TEST_CASE("an exception is the signal, code and address that Linux makes of it") {
  for (const Expected& expected : {
           Expected{0, SIGFPE, FPE_INTDIV, 0x401000}, Expected{1, SIGTRAP, TRAP_BRKPT, 0x401000},
           Expected{3, SIGTRAP, SI_KERNEL, 0}, Expected{6, SIGILL, ILL_ILLOPN, 0x401000},
           Expected{11, SIGBUS, SI_KERNEL, 0}, Expected{12, SIGBUS, SI_KERNEL, 0},
           Expected{13, SIGSEGV, SI_KERNEL, 0}, Expected{14, SIGSEGV, SEGV_MAPERR, 0x123},
           Expected{16, SIGFPE, FPE_FLTINV, 0x401000}, Expected{17, SIGBUS, BUS_ADRALN, 0},
           Expected{19, SIGFPE, FPE_FLTINV, 0x401000},
           Expected{31, SIGSEGV, SI_KERNEL, 0}, // none that a program can raise
       }) {
    CAPTURE(expected.vector);
    const SignalCause cause = cause_of(expected.vector);
    CHECK(cause.signal == expected.signal);
    CHECK(cause.code == expected.code);
    CHECK(cause.address == expected.address);
  }
  CHECK(cause_of(14, Resolution::forbidden).code == SEGV_ACCERR);
  const SignalCause behind = cause_of(14, Resolution::nothing_to_show);
  CHECK(behind.signal == SIGBUS);
  CHECK(behind.code == BUS_ADRERR);
  CHECK(behind.address == 0x123);
}

TEST_CASE("a step is told from INT1 by the flag that asks for steps") {
  Registers registers;
  registers.vector = 1;
  registers.flags = 0x100;
  CHECK(fault_cause(registers, Resolution::unmapped, {}).code == TRAP_TRACE);
  registers.flags = 0x200;
  CHECK(fault_cause(registers, Resolution::unmapped, {}).code == TRAP_BRKPT);
}

TEST_CASE("a calculation's exception is the first that is not masked") {
  CHECK(x87_code(0, 0x01) == FPE_FLTINV);
  CHECK(x87_code(0, 0x02) == FPE_FLTUND);
  CHECK(x87_code(0, 0x04) == FPE_FLTDIV);
  CHECK(x87_code(0, 0x08) == FPE_FLTOVF);
  CHECK(x87_code(0, 0x10) == FPE_FLTUND);
  CHECK(x87_code(0, 0x20) == FPE_FLTRES);
  CHECK(x87_code(0x1b, 0x3f) == FPE_FLTDIV);
  CHECK(x87_code(0x01, 0x05) == FPE_FLTDIV);
  CHECK(sse_code(0x3f) == FPE_FLTINV);
  CHECK(sse_code(0x1f80 - 0x200 + 0x3f) == FPE_FLTDIV);
  CHECK(sse_code(0x1f80 - 0x400 + 0x3f) == FPE_FLTOVF);
  CHECK(sse_code(0x1f80 - 0x800 + 0x3f) == FPE_FLTUND);
  CHECK(sse_code(0x1f80 - 0x100 + 0x3f) == FPE_FLTUND);
  CHECK(sse_code(0x1f80 - 0x1000 + 0x3f) == FPE_FLTRES);
}

TEST_CASE("what state they are in is read from where XSAVE has put it") {
  std::array<std::byte, 512> state{};
  state[0] = std::byte{0x7f};
  state[1] = std::byte{0x03};
  state[2] = std::byte{0x04};
  state[24] = std::byte{0x80};
  state[25] = std::byte{0x1f};
  const FloatingPoint at = FloatingPoint::of(state);
  CHECK(at.x87_control == 0x37f);
  CHECK(at.x87_status == 4);
  CHECK(at.mxcsr == 0x1f80);
}

TEST_CASE("a program does not hear what is in the kernel's half of the addresses") {
  Registers registers;
  registers.vector = 14;
  registers.error_code = 4;
  registers.fault_address = 0xffff800000000000;
  CHECK(told_error_code(registers) == 5);
  registers.fault_address = 0x7fffffffffff;
  CHECK(told_error_code(registers) == 4);
  registers.vector = 13;
  registers.fault_address = 0xffff800000000000; // of an earlier fault
  registers.error_code = 0x212;
  CHECK(told_error_code(registers) == 0x212);
}
