// SPDX-License-Identifier: MIT
// The Buddy's free blocks as hints: which go into a batch, and what becomes of them when the host
// has answered.
#include <algorithm>

#include "guest/mm/buddy/buddy.hpp"

namespace guest::mm {

IsolatedBatch Buddy::isolate(std::uint32_t goal, std::uint64_t keep_frames,
                             std::span<abi::RangeDescriptor> out, SmallBlocks small) {
  IsolatedBatch batch;
  for (unsigned next = abi::order_count; next-- > report_order_.value;) {
    if (!isolate_from({static_cast<std::uint8_t>(next)}, goal, keep_frames, out, small, batch)) {
      break;
    }
  }
  return batch;
}

IsolatedBatch Buddy::isolate_list(abi::Order list, std::uint32_t goal, std::uint64_t keep_frames,
                                  std::span<abi::RangeDescriptor> out) {
  IsolatedBatch batch;
  static_cast<void>(isolate_from(list, goal, keep_frames, out, SmallBlocks::instead, batch));
  return batch;
}

// Adds blocks of one order to the batch. Returns false when the next block must open another one.
bool Buddy::isolate_from(abi::Order list, std::uint32_t goal, std::uint64_t keep_frames,
                         std::span<abi::RangeDescriptor> out, SmallBlocks small,
                         IsolatedBatch& batch) {
  const auto emit = [&batch, out](abi::Pfn pfn, abi::Order order, abi::RangeKind kind) {
    out[batch.descriptors++] = abi::RangeDescriptor::make(pfn, order, kind);
  };
  while (batch.descriptors < goal) {
    abi::Order order = list;
    const std::optional<abi::Pfn> highest = free_.highest(order, Freshness::fresh);
    if (!highest) {
      break;
    }
    abi::Pfn block = *highest;
    FreshContent content = fresh_content(block, order);
    if (reportable_ < keep_frames + content.frames) {
      if (small == SmallBlocks::later) {
        return false;
      }
      break;
    }
    const auto needed = [&] { return is_uniform(block, order) ? 1 : content.parts + 1; };
    if (batch.descriptors != 0 &&
        batch.descriptors + needed() > std::min<std::size_t>(goal, out.size())) {
      return false;
    }
    free_.remove(block, order, Freshness::fresh);
    reportable_ -= content.frames;

    // More parts than a batch can hold: take the upper half with fresh content alone. The
    // other half stays free, and its buddy is isolated, so it has nobody to merge with.
    while (needed() > out.size()) {
      split(block, order);
      order = {static_cast<std::uint8_t>(order.value - 1)};
      const abi::Pfn lower = block;
      const abi::Pfn upper = block + order.frames();
      const bool take_upper = freshness(upper, order) == Freshness::fresh;
      const abi::Pfn left_over = take_upper ? lower : upper;
      const Freshness left_over_freshness = freshness(left_over, order);
      free_.add(left_over, order, left_over_freshness);
      if (order >= report_order_) {
        reportable_ += fresh_content(left_over, order).frames;
      }
      block = take_upper ? upper : lower;
      content = fresh_content(block, order);
    }

    if (!is_uniform(block, order)) {
      emit(block, order, abi::RangeKind::span);
    }
    for_each_part(block, order, [&](abi::Pfn part, abi::FrameTag tag) {
      if (tag.kind() == abi::FrameKind::fresh) {
        redundant_frames_ += tags_.count_audit_clear(part, tag.order());
        tags_.put(part, abi::FrameKind::isolated, tag.order());
        areas_.isolated(part, tag.order());
        emit(part, tag.order(), abi::RangeKind::hint);
        ++batch.hints;
      }
      return true;
    });
    fresh_frames_ -= content.frames;
    answered_frames_ -= order.frames() - content.frames;
    isolated_frames_ += order.frames();
    batch.hinted_frames += content.frames;
    batch.block_frames += order.frames();
  }
  return true;
}

} // namespace guest::mm
