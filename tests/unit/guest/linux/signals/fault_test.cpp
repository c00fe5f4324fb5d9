// SPDX-License-Identifier: MIT
#include "guest/linux/signals/fault.hpp"

#include <csignal>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

SignalCause cause_of(std::uint64_t vector, Resolution resolution = Resolution::unmapped) {
  Registers registers;
  registers.vector = vector;
  registers.rip = 0x401000;
  registers.fault_address = 0x123;
  return fault_cause(registers, resolution);
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
           Expected{0, SIGFPE, FPE_INTDIV, 0x401000}, Expected{1, SIGTRAP, TRAP_TRACE, 0x401000},
           Expected{3, SIGTRAP, SI_KERNEL, 0}, Expected{6, SIGILL, ILL_ILLOPN, 0x401000},
           Expected{13, SIGSEGV, SI_KERNEL, 0}, Expected{14, SIGSEGV, SEGV_MAPERR, 0x123},
           Expected{16, SIGFPE, FPE_FLTINV, 0x401000}, Expected{17, SIGBUS, BUS_ADRALN, 0x401000},
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
