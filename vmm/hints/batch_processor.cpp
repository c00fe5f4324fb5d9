// SPDX-License-Identifier: MIT
#include "vmm/hints/batch_processor.hpp"

#include "vmm/base/clock.hpp"

namespace vmm {

void BatchProcessor::process(Batch& batch) {
  const std::uint64_t start_ns = monotonic_ns();
  if (!batch.acceptable) {
    fill_answer(batch, abi::Outcome::failed);
  } else {
    validator_.validate(batch.submitted(), checked_);
    if (objects(checked_)) {
      fill_answer(batch, abi::Outcome::failed);
    } else {
      begin_answer(batch);
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

std::optional<HintViolation> BatchProcessor::take_violation() {
  if (violation_taken_ || !violation_) {
    return std::nullopt;
  }
  violation_taken_ = true;
  return violation_;
}

} // namespace vmm
