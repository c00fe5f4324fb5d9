// SPDX-License-Identifier: MIT
// What gdb is told when the guest stops or ends ("Stop Reply Packets" of gdb's manual).
#pragma once

#include <string>

#include "vmm/debug/debug_target.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// "T05thread:1;swbreak:;": a signal that stands for the reason, and the vCPU, counted from 1.
// `interrupted`: gdb had asked for the stop.
[[nodiscard]] std::string gdb_stop_reply(const DebugStop& stop, bool interrupted);

// "W03": ended with an exit status; "X0b": as if by a signal.
[[nodiscard]] std::string gdb_end_reply(const GuestEnding& ending);

} // namespace vmm
