// SPDX-License-Identifier: MIT
// Measures what a doorbell and a fault cost on this machine, in throw-away virtual machines: some
// tens of milliseconds.
#pragma once

#include "vmm/config.hpp"
#include "vmm/host_mode.hpp"
#include "vmm/ledger.hpp"

namespace vmm {

// For a guest of `config` whose hints are answered in `mode`. What cannot be measured is empty.
[[nodiscard]] UnitCosts measure_unit_costs(const Config& config, HostMode mode);

} // namespace vmm
