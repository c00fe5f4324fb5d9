// SPDX-License-Identifier: MIT
// A batch's answer changed by hand: the words of the live stepper's commands put into the faults
// that the host carries out.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/hints/adversary/fault_plan.hpp"
#include "vmm/hints/batch.hpp"

namespace vmm {

enum class HandOutcome : std::uint8_t { decline, fail };

// `range` is the index of one range, or empty for the whole batch. What was said before of the same
// range, or of anything when it is now about the whole, no longer counts. User error for a range
// that the batch has not, and for a single range of an unusable batch.
Result<void> answer_by_hand(HandOutcome outcome, std::string_view range, const Batch& batch,
                            BatchFaults& faults);

// `time` as of --host-fault delay=. User error for anything else.
Result<void> delay_by_hand(std::string_view time, BatchFaults& faults);

// What will become of the batch: "answered honestly", "declined, 5 ms late", "answered but for
// ranges declined: 1, 2". Of a partial fault of the plan it says so, not which ranges.
[[nodiscard]] std::string describe(const BatchFaults& faults);

} // namespace vmm
