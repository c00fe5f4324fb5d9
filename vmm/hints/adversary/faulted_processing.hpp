// SPDX-License-Identifier: MIT
// The work on a batch as an adversarial host does it: whole, in part or not at all.
#pragma once

#include <cstdint>

#include "vmm/hints/adversary/fault_plan.hpp"
#include "vmm/hints/batch_processor.hpp"

namespace vmm {

// Fills batch.answer by `processor`, but for what `faults` settles beforehand. Returns how many
// ranges of a batch that is worked on were settled so. Allocates nothing; 8 KiB of stack.
std::uint32_t process_faulted(BatchProcessor& processor, Batch& batch, const BatchFaults& faults);

} // namespace vmm
