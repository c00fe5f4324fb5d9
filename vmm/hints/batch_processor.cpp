// SPDX-License-Identifier: MIT
#include "vmm/hints/batch_processor.hpp"

#include "vmm/base/clock.hpp"

namespace vmm {
namespace {

void answer_failed(abi::CompletionEntry& answer) {
  for (std::uint32_t i = 0; i < abi::max_batch_ranges; ++i) {
    answer.set_outcome(i, abi::Outcome::failed);
  }
}

} // namespace

void BatchProcessor::process(Batch& batch) {
  const std::uint64_t start_ns = monotonic_ns();
  batch.answer = {};
  batch.answer.batch_id = batch.submission.batch_id;
  batch.answer.page = batch.submission.page;
  batch.answer.range_count = batch.submission.range_count;

  if (!batch.acceptable) {
    answer_failed(batch.answer);
  } else {
    validator_.validate(batch.submitted(), checked_);
    if (objects(checked_)) {
      answer_failed(batch.answer);
    } else {
      discard(batch);
    }
  }
  batch.answer.host_ns = monotonic_ns() - start_ns;
}

void BatchProcessor::discard(Batch& batch) {
  coalesce(checked_.ranges(), engine_.selection(), runs_);
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_discard_begin(batch, lane_, runs_, engine_.counters());
  }
  engine_.discard(checked_, runs_, batch.answer);
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_discard_end(batch, lane_, engine_.counters());
  }
}

bool BatchProcessor::objects(const CheckedBatch& checked) {
  if (!checker_) {
    return false;
  }
  const std::optional<HintViolation> found = checker_->check(checked);
  if (!found) {
    return false;
  }
  violations_.add();
  if (!violation_) {
    violation_ = found;
  }
  return true;
}

} // namespace vmm
