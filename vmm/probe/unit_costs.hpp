// SPDX-License-Identifier: MIT
// Measures what a doorbell and a fault cost on this machine, in throw-away virtual machines: some
// tens of milliseconds.
#pragma once

#include "vmm/kvm/kvm.hpp"
#include "vmm/measure/ledger.hpp"
#include "vmm/settings/config.hpp"

namespace vmm {

// For a guest of `config` whose hints are answered in the mode that it asks for. What cannot be
// measured is empty. Starts threads, which end with it.
[[nodiscard]] UnitCosts measure_unit_costs(const Kvm& kvm, const Config& config);

} // namespace vmm
