// SPDX-License-Identifier: MIT
// Text for a run that went wrong: why KVM came back, where the guest was, its registers.
#pragma once

#include <string>

#include "shared/hypercall.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/kvm/kvm.hpp"

namespace vmm {

// Name and details of an exit that the vmm does not handle, such as "KVM_EXIT_SHUTDOWN (triple
// fault)" or "access to unmapped guest-physical address 0x..., 8 byte write". Unknown reasons are
// given by number.
[[nodiscard]] std::string describe_exit(const kvm_run& run);

// Registers, CR2 and the symbolised RIP, several lines. Says so when they cannot be read.
[[nodiscard]] std::string dump_registers(const Vcpu& vcpu, const Symbols& symbols);

// What the guest said of its own end: message, symbolised backtrace, registers. `record` is a copy;
// its fields are not believed.
[[nodiscard]] std::string describe_panic(const abi::PanicRecord& record, const Symbols& symbols);

} // namespace vmm
