// SPDX-License-Identifier: MIT
// A batch of hints in the host's own memory, where the guest cannot change it any more, and its
// answer.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "shared/report_channel.hpp"

namespace vmm {

struct Batch {
  std::uint32_t channel = 0;       // that it was taken from
  abi::SubmissionEntry submission; // as the guest wrote it
  // Whether page and range_count were usable, and so `descriptors` filled. If not, the answer is
  // failed for every range there could have been.
  bool acceptable = false;
  std::array<abi::RangeDescriptor, abi::max_batch_ranges> descriptors;
  abi::CompletionEntry answer; // set by processing

  [[nodiscard]] std::span<const abi::RangeDescriptor> submitted() const {
    return acceptable ? std::span(descriptors).first(submission.range_count)
                      : std::span(descriptors).first(0);
  }
};

// Makes the answer one to this batch; its outcomes are still to be set.
void begin_answer(Batch& batch);
// The same outcome for every range there is, or could have been.
void fill_answer(Batch& batch, abi::Outcome outcome);

} // namespace vmm
