// SPDX-License-Identifier: MIT
#include "guest/linux/signals/fault.hpp"

#include <csignal>

namespace guest::linux {

SignalCause fault_cause(const Registers& registers, Resolution resolution) {
  // What the kernel sends without saying more, as for a general protection fault.
  SignalCause cause{.signal = SIGSEGV, .code = SI_KERNEL};
  const auto at = [&](std::uint64_t signal, std::int32_t code, std::uint64_t address) {
    cause = {.signal = signal, .code = code, .address = address};
  };
  switch (registers.vector) {
  case 0: // divide error
    at(SIGFPE, FPE_INTDIV, registers.rip);
    break;
  case 1: // single step
    at(SIGTRAP, TRAP_TRACE, registers.rip);
    break;
  case 3: // breakpoint
    cause.signal = SIGTRAP;
    break;
  case invalid_opcode_vector:
    at(SIGILL, ILL_ILLOPN, registers.rip);
    break;
  case page_fault_vector:
    if (resolution == Resolution::nothing_to_show) {
      at(SIGBUS, BUS_ADRERR, registers.fault_address);
    } else {
      at(SIGSEGV, resolution == Resolution::unmapped ? SEGV_MAPERR : SEGV_ACCERR,
         registers.fault_address);
    }
    break;
  case 16: // x87
  case 19: // SIMD
    at(SIGFPE, FPE_FLTINV, registers.rip);
    break;
  case 17: // alignment check
    at(SIGBUS, BUS_ADRALN, registers.rip);
    break;
  default:
    break;
  }
  return cause;
}

} // namespace guest::linux
