// SPDX-License-Identifier: MIT
// Gathers what a finished machine measured into RunStats.
#pragma once

#include "vmm/machine.hpp"
#include "vmm/report/stats.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// `machine` has run and ended with `ending`.
[[nodiscard]] RunStats make_stats(const Config& config, const Machine& machine,
                                  const GuestEnding& ending);

} // namespace vmm
