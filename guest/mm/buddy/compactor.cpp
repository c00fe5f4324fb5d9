// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/compactor.hpp"

namespace guest::mm {

// The lowest block of an area, if all that somebody owns there can be moved. Every block and part
// begins with a valid tag, so hopping from one to the next visits them all.
std::optional<PlannedMove> Compactor::first_block(abi::Pfn area) const {
  const FrameTags& tags = buddy_.tags();
  std::optional<PlannedMove> found;
  const abi::Pfn end = area + AreaUse::area_frames;
  for (abi::Pfn frame = area; frame < end;) {
    const abi::FrameTag tag = tags.get(frame, std::memory_order_acquire);
    if (tag.kind() == abi::FrameKind::allocated || tag.kind() == abi::FrameKind::cached) {
      return std::nullopt;
    }
    if (tag.kind() == abi::FrameKind::movable && !found) {
      found = {.from = frame, .order = tag.order(), .cookie = buddy_.cookie(frame), .to = {}};
    }
    frame = frame + tag.order().frames();
  }
  return found;
}

std::optional<PlannedMove> Compactor::plan_locked() {
  AreaUse& areas = buddy_.areas();
  while (areas.has_sparse()) {
    const abi::Pfn area = areas.highest_sparse();
    std::optional<PlannedMove> move = first_block(area);
    if (!move) {
      areas.pass_over(area);
      continue;
    }
    move->to = buddy_.allocate_below(move->order, area);
    if (!move->to.ok()) {
      return std::nullopt; // nor is there room for what lies lower
    }
    // Before the owner knows the place: it may free the block there at once.
    buddy_.make_movable(move->to.pfn, move->order, move->cookie);
    return move;
  }
  return std::nullopt;
}

void Compactor::finish_locked(const PlannedMove& move, Outcome outcome) {
  if (outcome == Outcome::moved) {
    // Cannot fail: the owner had it and does not free it any more.
    static_cast<void>(buddy_.free(move.from, move.order));
    return;
  }
  if (move.to.content == Content::zeroed) {
    buddy_.free_untouched(move.to.pfn, move.order, move.to.was);
  } else {
    static_cast<void>(buddy_.free(move.to.pfn, move.order));
  }
  buddy_.areas().pass_over({abi::align_down(move.from.value, AreaUse::area_frames)});
}

} // namespace guest::mm
