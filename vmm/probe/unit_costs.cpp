// SPDX-License-Identifier: MIT
#include "vmm/probe/unit_costs.hpp"

#include "vmm/probe/probe_vm.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t doorbell_rounds = 200;

// Empty also where the host has no thread to spare: the guest may do with those that there are.
template <typename Measure> std::optional<double> value_of(Measure measure) {
  const auto measured = measure();
  return measured ? std::optional<double>(*measured) : std::nullopt;
}

} // namespace

UnitCosts measure_unit_costs(const Kvm& kvm, const Config& config) {
  UnitCosts costs;
  ProbeVm probe(kvm);
  if (config.host != HostMode::sync) {
    costs.doorbell_ns = value_of([&] { return probe.port_to_eventfd(); });
  } else if (config.transport == Transport::vmcall) {
    costs.doorbell_ns = value_of([&] { return probe.call(hypercall_instruction()); });
  } else {
    costs.doorbell_ns = value_of([&] { return probe.port_cpu(doorbell_rounds); });
  }
  const Backing grain = config.backing == Backing::thp ? Backing::small_pages : config.backing;
  costs.page_fault_ns = value_of([&] { return probe.touch(grain); });
  if (config.backing == Backing::thp) {
    costs.huge_page_fault_ns = value_of([&] { return probe.touch(Backing::thp); });
  }
  return costs;
}

} // namespace vmm
