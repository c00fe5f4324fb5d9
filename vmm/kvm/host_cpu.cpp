// SPDX-License-Identifier: MIT
#include "vmm/kvm/host_cpu.hpp"

#include <cpuid.h>

#include <array>
#include <cstring>

namespace vmm {
namespace {

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(unsigned number) {
  Leaf leaf;
  __cpuid(number, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
  return leaf;
}

// Twelve characters in three registers, fewer if NUL comes first.
std::string text_of(const std::array<unsigned, 3>& registers) {
  std::array<char, sizeof registers + 1> text{};
  std::memcpy(text.data(), registers.data(), sizeof registers);
  return text.data();
}

} // namespace

CpuVendor cpu_vendor() {
  const Leaf leaf = cpuid(0);
  const std::string vendor = text_of({leaf.ebx, leaf.edx, leaf.ecx});
  if (vendor == "GenuineIntel") {
    return CpuVendor::intel;
  }
  return vendor == "AuthenticAMD" || vendor == "HygonGenuine" ? CpuVendor::amd : CpuVendor::other;
}

std::string hypervisor_signature() {
  constexpr unsigned hypervisor_bit = 1U << 31;     // leaf 1, ECX: set under any hypervisor
  constexpr unsigned hypervisor_leaf = 0x4000'0000; // by common convention
  if ((cpuid(1).ecx & hypervisor_bit) == 0) {
    return {};
  }
  const Leaf leaf = cpuid(hypervisor_leaf);
  return text_of({leaf.ebx, leaf.ecx, leaf.edx});
}

bool is_emulated_by_qemu() {
  return hypervisor_signature() == "TCGTCGTCGTCG";
}

} // namespace vmm
