// SPDX-License-Identifier: MIT
#include "vmm/hints/faulty_processor.hpp"

namespace vmm {
namespace {

void answer_all(Batch& batch, abi::Outcome outcome) {
  batch.answer = {};
  batch.answer.batch_id = batch.submission.batch_id;
  batch.answer.page = batch.submission.page;
  batch.answer.range_count = batch.submission.range_count;
  for (std::uint32_t range = 0; range < abi::max_batch_ranges; ++range) {
    batch.answer.set_outcome(range, outcome);
  }
}

} // namespace

void FaultyProcessor::configure(ManagedRange managed, const std::optional<HintChecker>& checker) {
  processor_.set_managed(managed);
  if (checker) {
    processor_.set_hint_checker(*checker);
  }
}

void FaultyProcessor::process(HeldBatch& held) {
  switch (held.faults.fate) {
  case Fate::fail:
    answer_all(held.batch, abi::Outcome::failed);
    return;
  case Fate::decline:
    answer_all(held.batch, held.batch.acceptable ? abi::Outcome::declined : abi::Outcome::failed);
    return;
  case Fate::answer:
  case Fate::drop:
  case Fate::stall:
    break;
  }
  if (held.faults.settles_ranges() && held.batch.acceptable) {
    process_partly(held);
  } else {
    processor_.process(held.batch);
  }
}

// What is settled beforehand is kept from the processor, and so are all spans: a span is discarded
// whole, and with it what was to be left alone.
void FaultyProcessor::process_partly(HeldBatch& held) {
  Batch& batch = held.batch;
  kept_.channel = batch.channel;
  kept_.submission = batch.submission;
  std::uint32_t kept = 0;
  for (std::uint32_t range = 0; range < batch.submission.range_count; ++range) {
    const abi::RangeDescriptor descriptor = batch.descriptors[range];
    if (descriptor.kind() == abi::RangeKind::span) {
      continue;
    }
    if (held.faults.fails_range(range) || held.faults.declines_range(range)) {
      ++held.settled_by_fault;
      continue;
    }
    kept_.descriptors[kept] = descriptor;
    kept_from_[kept++] = static_cast<std::uint16_t>(range);
  }
  answer_all(batch, abi::Outcome::declined);
  for (std::uint32_t range = 0; range < batch.submission.range_count; ++range) {
    if (held.faults.fails_range(range)) {
      batch.answer.set_outcome(range, abi::Outcome::failed);
    }
  }
  if (kept == 0) {
    return;
  }
  kept_.submission.range_count = kept;
  kept_.acceptable = true;
  processor_.process(kept_);
  for (std::uint32_t range = 0; range < kept; ++range) {
    batch.answer.set_outcome(kept_from_[range], kept_.answer.outcome(range));
  }
  batch.answer.host_ns = kept_.answer.host_ns;
}

std::optional<HintViolation> FaultyProcessor::take_violation() {
  if (violation_told_ || !processor_.violation()) {
    return std::nullopt;
  }
  violation_told_ = true;
  return processor_.violation();
}

} // namespace vmm
