// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_stop_reply.hpp"

#include <utility>

#include <fmt/core.h>

namespace vmm {
namespace {

// Signals by gdb's numbers.
enum Signal : unsigned {
  signal_int = 2,
  signal_ill = 4,
  signal_trap = 5,
  signal_abrt = 6,
  signal_fpe = 8,
  signal_bus = 10,
  signal_segv = 11,
};

unsigned signal_of(const DebugStop& stop, bool interrupted) {
  switch (stop.reason) {
  case StopReason::halted:
    return interrupted ? signal_int : signal_trap;
  case StopReason::breakpoint:
  case StopReason::stepped:
    return signal_trap;
  case StopReason::panic:
    return signal_abrt;
  case StopReason::crash:
    return signal_segv;
  case StopReason::exception:
    break;
  }
  switch (stop.vector) {
  case 0:  // divide error
  case 16: // x87
  case 19: // SSE
    return signal_fpe;
  case 1: // debug
  case 3: // breakpoint
    return signal_trap;
  case 6: // invalid opcode
    return signal_ill;
  case 17: // alignment
    return signal_bus;
  default:
    return signal_segv;
  }
}

// "ADDRESS,LENGTH", both hexadecimal.

} // namespace

std::string gdb_stop_reply(const DebugStop& stop, bool interrupted) {
  return fmt::format("T{:02x}thread:{:x};{}", signal_of(stop, interrupted), stop.vcpu + 1,
                     stop.reason == StopReason::breakpoint ? "swbreak:;" : "");
}

std::string gdb_end_reply(const GuestEnding& ending) {
  switch (ending.kind) {
  case EndKind::exited:
    return fmt::format("W{:02x}", ending.status);
  case EndKind::host_failed:
    return fmt::format("W{:02x}", ending.process_status());
  case EndKind::panicked:
    return fmt::format("X{:02x}", unsigned{signal_abrt});
  case EndKind::crashed:
    return fmt::format("X{:02x}", unsigned{signal_segv});
  case EndKind::interrupted:
    // SIGINT, SIGTERM and SIGKILL have the same numbers on Linux.
    return fmt::format("X{:02x}", ending.status);
  }
  std::unreachable();
}

} // namespace vmm
