// SPDX-License-Identifier: MIT
#include "guest/linux/signals/fault.hpp"

#include <csignal>
#include <cstring>

#include "guest/linux/base/highest_address.hpp"
#include "guest/linux/signals/hidden_fault.hpp"

namespace guest::linux {

namespace {

// Of exceptions that have come and are not masked, as bits in the order of the status word.
std::int32_t calculation_code(unsigned exceptions) {
  if ((exceptions & 1U) != 0) {
    return FPE_FLTINV;
  }
  if ((exceptions & 4U) != 0) {
    return FPE_FLTDIV;
  }
  if ((exceptions & 8U) != 0) {
    return FPE_FLTOVF;
  }
  return (exceptions & 0x12U) != 0 ? FPE_FLTUND : FPE_FLTRES; // a denormal operand, too
}

} // namespace

FloatingPoint FloatingPoint::of(std::span<const std::byte> extended_state) {
  FloatingPoint result;
  std::memcpy(&result.x87_control, &extended_state[0], sizeof result.x87_control);
  std::memcpy(&result.x87_status, &extended_state[2], sizeof result.x87_status);
  std::memcpy(&result.mxcsr, &extended_state[24], sizeof result.mxcsr);
  return result;
}

SignalCause fault_cause(const Registers& registers, Resolution resolution,
                        const FloatingPoint& floating_point) {
  // What the kernel sends without saying more, as for a general protection fault.
  SignalCause cause{.signal = SIGSEGV, .code = SI_KERNEL};
  const auto at = [&](std::uint64_t signal, std::int32_t code, std::uint64_t address) {
    cause = {.signal = signal, .code = code, .address = address};
  };
  switch (registers.vector) {
  case 0: // divide error
    at(SIGFPE, FPE_INTDIV, registers.rip);
    break;
  case 1: { // single step, or INT1
    constexpr std::uint64_t trap_flag = 1U << 8;
    at(SIGTRAP, (registers.flags & trap_flag) != 0 ? TRAP_TRACE : TRAP_BRKPT, registers.rip);
    break;
  }
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
  case 11: // no segment
  case stack_fault_vector:
    cause.signal = SIGBUS;
    break;
  case 16: // x87
    at(SIGFPE, calculation_code(floating_point.x87_status & ~unsigned{floating_point.x87_control}),
       registers.rip);
    break;
  case 17: // alignment check
    at(SIGBUS, BUS_ADRALN, 0);
    break;
  case 19: // SIMD
    at(SIGFPE, calculation_code(floating_point.mxcsr & ~(floating_point.mxcsr >> 7)),
       registers.rip);
    break;
  default:
    break;
  }
  return cause;
}

std::uint64_t told_error_code(const Registers& registers) {
  constexpr std::uint64_t was_present = 1;
  return registers.error_code |
         (registers.vector == page_fault_vector && registers.fault_address >= highest_address
              ? was_present
              : 0);
}

} // namespace guest::linux
