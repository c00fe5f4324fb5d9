// SPDX-License-Identifier: MIT
// Gathers what a machine has measured into RunStats.
#pragma once

#include "vmm/machine.hpp"
#include "vmm/report/stats.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// What there is to tell while it runs. Any thread, from Machine::run() on; no series, and nothing
// that is known at the end only.
[[nodiscard]] RunStats stats_now(const Config& config, const Machine& machine);

// `machine` has run and ended with `ending`.
[[nodiscard]] RunStats make_stats(const Config& config, const Machine& machine,
                                  const GuestEnding& ending);

} // namespace vmm
