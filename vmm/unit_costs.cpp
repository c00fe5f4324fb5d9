// SPDX-License-Identifier: MIT
#include "vmm/unit_costs.hpp"

#include "vmm/probe_vm.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t doorbell_rounds = 200;

template <typename Measured> std::optional<double> value_of(const Measured& measured) {
  return measured ? *measured : std::nullopt;
}

} // namespace

UnitCosts measure_unit_costs(const Kvm& kvm, const Config& config) {
  UnitCosts costs;
  ProbeVm probe(kvm);
  if (config.host != HostMode::sync) {
    costs.doorbell_ns = value_of(probe.port_to_eventfd());
  } else if (config.transport == Transport::vmcall) {
    costs.doorbell_ns = value_of(probe.call(hypercall_instruction()));
  } else {
    costs.doorbell_ns = value_of(probe.port_cpu(doorbell_rounds));
  }
  const Backing small = config.backing == Backing::thp ? Backing::small_pages : config.backing;
  costs.page_fault_ns = value_of(probe.touch(small));
  if (config.backing == Backing::thp) {
    costs.huge_page_fault_ns = value_of(probe.touch(Backing::thp));
  }
  return costs;
}

} // namespace vmm
