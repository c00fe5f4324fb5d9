// SPDX-License-Identifier: MIT
// Measures the ways from guest to host in throw-away virtual machines: what KVM reports of itself
// does not say whether a way works. Every measurement is bounded in time, whatever the guest's
// instructions do on this KVM.
#pragma once

#include <cstdint>
#include <optional>

#include "shared/doorbell.hpp"
#include "vmm/base/result.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/settings/memory_policy.hpp"

namespace vmm {

class ProbeVm {
 public:
  // `kvm` outlives the object.
  explicit ProbeVm(const Kvm& kvm) : kvm_(kvm) {}

  // Each returns the mean time of one round in ns; empty when no round came to its end within
  // max_wait_ns. Errors are those of setting up a machine.

  // KVM_RUN that does not enter the guest.
  [[nodiscard]] Result<std::optional<double>> run_without_entry();
  // `out` at CPL3, to userspace and back.
  [[nodiscard]] Result<std::optional<double>> port();
  // The same in CPU time, of so many rounds.
  [[nodiscard]] Result<std::optional<double>> port_cpu(std::uint64_t rounds);
  // First touch of 4 KiB at CPL3, of memory with this backing; a huge page counts as 512. CPU time.
  [[nodiscard]] Result<std::optional<double>> touch(Backing backing);
  // `out` at CPL3 that signals an eventfd in the kernel.
  [[nodiscard]] Result<std::optional<double>> port_to_eventfd();
  // int3 into ring 0, VMCALL or VMMCALL there, to userspace and back.
  [[nodiscard]] Result<std::optional<double>> call(abi::Doorbell instruction);
  // Whether one such call arrives.
  [[nodiscard]] Result<bool> call_arrives(abi::Doorbell instruction);

  static constexpr std::uint64_t max_wait_ns = 500'000'000;

 private:
  const Kvm& kvm_;
};

// The hypercall instruction of this CPU; `port` when it has neither.
[[nodiscard]] abi::Doorbell hypercall_instruction();

// The modules that serve /dev/kvm on this machine, such as "kvm_amd"; "kvm" when none is to be
// seen.
[[nodiscard]] const char* kvm_module();

// What --transport vmcall needs. Environment error that says so when hypercalls do not arrive.
[[nodiscard]] Result<abi::Doorbell> require_vmcall(const Kvm& kvm);

} // namespace vmm
