// SPDX-License-Identifier: MIT
// What the CPU that the vmm runs on says of itself (CPUID), as far as the virtual machine's set-up
// depends on it.
#pragma once

#include <cstdint>
#include <string>

namespace vmm {

enum class CpuVendor : std::uint8_t {
  intel, // VMX, VMCALL
  amd,   // SVM, VMMCALL; Hygon as well
  other,
};

[[nodiscard]] CpuVendor cpu_vendor();

// Signature of the hypervisor that the vmm itself runs under, such as "KVMKVMKVM" or
// "TCGTCGTCGTCG"; empty on bare metal.
[[nodiscard]] std::string hypervisor_signature();

// The CPU is QEMU's software emulation.
[[nodiscard]] bool is_emulated_by_qemu();

} // namespace vmm
