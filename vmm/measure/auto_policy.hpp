// SPDX-License-Identifier: MIT
// --report order=auto: the policy that what single events cost on this machine suggests.
//
// Strategy: adaptive. The guest lets free memory go by halves, and learns how fast; it is told the
// break-even time (guest/mm/reporting/half_life_search.hpp).
//
// Order: where a return is cheap, single pages; one order more for each doubling of what it costs.
// Where huge pages are behind the guest, those.
//
// Batch: 64. More exits saved would not be worth the wait.
#pragma once

#include <cstdint>

#include "shared/boot_info.hpp"
#include "vmm/measure/ledger.hpp"

namespace vmm {

// Seconds that 4 KiB hinted at this order must stay away to pay for its discard and its return.
[[nodiscard]] double break_even_seconds(const UnitCosts& units, std::uint64_t memory_price_ns,
                                        abi::Order order);

// On top of `base`: whether anything is reported, and the reserve, are the user's.
[[nodiscard]] abi::ReportPolicy auto_policy(const UnitCosts& units, std::uint64_t memory_price_ns,
                                            const abi::ReportPolicy& base);

} // namespace vmm
