// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/faulted_processing.hpp"

#include <array>

namespace vmm {
namespace {

// What is settled beforehand is kept from the processor, and so are all spans: a span is discarded
// whole, and with it what was to be left alone.
std::uint32_t process_partly(BatchProcessor& processor, Batch& batch, const BatchFaults& faults) {
  Batch kept;
  std::array<std::uint16_t, abi::max_batch_ranges> kept_from{};
  kept.channel = batch.channel;
  kept.submission = batch.submission;
  std::uint32_t kept_ranges = 0;
  std::uint32_t settled = 0;
  for (std::uint32_t range = 0; range < batch.submission.range_count; ++range) {
    const abi::RangeDescriptor descriptor = batch.descriptors[range];
    if (descriptor.kind() == abi::RangeKind::span) {
      continue;
    }
    if (faults.fails_range(range) || faults.declines_range(range)) {
      ++settled;
      continue;
    }
    kept.descriptors[kept_ranges] = descriptor;
    kept_from[kept_ranges++] = static_cast<std::uint16_t>(range);
  }
  fill_answer(batch, abi::Outcome::declined);
  for (std::uint32_t range = 0; range < batch.submission.range_count; ++range) {
    if (faults.fails_range(range)) {
      batch.answer.set_outcome(range, abi::Outcome::failed);
    }
  }
  if (kept_ranges == 0) {
    return settled;
  }
  kept.submission.range_count = kept_ranges;
  kept.acceptable = true;
  processor.process(kept);
  for (std::uint32_t range = 0; range < kept_ranges; ++range) {
    batch.answer.set_outcome(kept_from[range], kept.answer.outcome(range));
  }
  batch.answer.host_ns = kept.answer.host_ns;
  return settled;
}

} // namespace

std::uint32_t process_faulted(BatchProcessor& processor, Batch& batch, const BatchFaults& faults) {
  switch (faults.fate) {
  case Fate::fail:
    fill_answer(batch, abi::Outcome::failed);
    return 0;
  case Fate::decline:
    fill_answer(batch, batch.acceptable ? abi::Outcome::declined : abi::Outcome::failed);
    return 0;
  case Fate::answer:
  case Fate::drop:
  case Fate::stall:
    break;
  }
  if (faults.settles_ranges() && batch.acceptable) {
    return process_partly(processor, batch, faults);
  }
  processor.process(batch);
  return 0;
}

} // namespace vmm
