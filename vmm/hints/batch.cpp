// SPDX-License-Identifier: MIT
#include "vmm/hints/batch.hpp"

namespace vmm {

void begin_answer(Batch& batch) {
  batch.answer = {};
  batch.answer.batch_id = batch.submission.batch_id;
  batch.answer.page = batch.submission.page;
  batch.answer.range_count = batch.submission.range_count;
}

void fill_answer(Batch& batch, abi::Outcome outcome) {
  begin_answer(batch);
  for (std::uint32_t range = 0; range < abi::max_batch_ranges; ++range) {
    batch.answer.set_outcome(range, outcome);
  }
}

} // namespace vmm
