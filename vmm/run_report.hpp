// SPDX-License-Identifier: MIT
// Gathers what a finished machine measured into RunStats.
#pragma once

#include "vmm/config.hpp"
#include "vmm/guest_end.hpp"
#include "vmm/machine.hpp"
#include "vmm/stats.hpp"

namespace vmm {

// `machine` has run and ended with `ending`.
[[nodiscard]] RunStats make_stats(const Config& config, const Machine& machine,
                                  const GuestEnding& ending);

} // namespace vmm
