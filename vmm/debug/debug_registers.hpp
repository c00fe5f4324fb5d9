// SPDX-License-Identifier: MIT
// A debugger's registers from KVM's and back.
#pragma once

#include "vmm/debug/debug_target.hpp"
#include "vmm/kvm/kvm_api.hpp"

namespace vmm {

// All that KVM knows of a vCPU's registers, as far as debuggers care.
struct KvmRegisters {
  kvm_regs general{};
  kvm_sregs system{};
  kvm_fpu fpu{};
};

[[nodiscard]] DebugRegisters to_debug(const KvmRegisters& from);

// Puts what a debugger may change into `to`: general registers, RIP, flags, x87, SSE, FS and GS
// base. False, with `to` as it was, when something else differs.
[[nodiscard]] bool apply(const DebugRegisters& from, KvmRegisters& to);

} // namespace vmm
