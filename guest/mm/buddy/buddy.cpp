// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/buddy.hpp"

#include <algorithm>
#include <atomic>

namespace guest::mm {

namespace {

constexpr std::uint64_t largest_block_frames = std::uint64_t{1} << abi::max_order;

constexpr abi::Order smaller(abi::Order order) {
  return {static_cast<std::uint8_t>(order.value - 1)};
}
constexpr abi::Order larger(abi::Order order) {
  return {static_cast<std::uint8_t>(order.value + 1)};
}

// Metadata covers whole largest blocks, so a buddy's bit and tag always exist.
constexpr abi::Pfn covered_base(abi::Pfn first) {
  return {abi::align_down(first.value, largest_block_frames)};
}
constexpr std::uint64_t covered_frames(abi::Pfn first, abi::Pfn end) {
  return abi::align_up(end.value, largest_block_frames) - covered_base(first).value;
}

} // namespace

std::size_t Buddy::metadata_bytes(abi::Pfn first, abi::Pfn end) {
  const std::uint64_t frames = covered_frames(first, end);
  std::size_t bytes = frames * sizeof(abi::FrameTag);
  bytes += sizeof(std::uint64_t) * FreeBlocks::words_needed(frames);
  bytes += sizeof(std::uint64_t) * AreaUse::words_needed(frames);
  bytes += frames * sizeof(std::uint32_t); // cookies
  return bytes;
}

Buddy::Buddy(const BuddyConfig& config, std::span<std::byte> metadata)
    : frontier_(config.first), plugged_end_(config.plugged_end),
      report_order_(std::min(config.report_order, abi::Order{abi::max_order})),
      discarded_(config.discarded) {
  const std::uint64_t frames = covered_frames(config.first, config.end);
  // The caller's zero bytes become arrays of trivial types; both start 8-byte aligned, because
  // the number of frames is a multiple of 8.
  auto* tags = reinterpret_cast<abi::FrameTag*>(metadata.data());
  auto* words = reinterpret_cast<std::uint64_t*>(metadata.data() + frames);
  const FrameHole hole = config.hole.aligned_outwards(largest_block_frames);
  // A hole that reaches the end is no hole: RAM ends before it.
  const bool at_end = !hole.empty() && hole.end >= config.end;
  tags_ = FrameTags(tags, covered_base(config.first), config.first,
                    at_end ? std::min(hole.start, config.end) : config.end,
                    at_end ? FrameHole{} : hole);
  skip_hole();
  const std::size_t free_words = FreeBlocks::words_needed(frames);
  free_ = FreeBlocks({words, free_words}, tags_.base(), frames);
  words += free_words;
  const std::size_t area_words = AreaUse::words_needed(frames);
  areas_ = AreaUse({words, area_words}, tags_.base(), frames);
  cookies_ = reinterpret_cast<std::uint32_t*>(words + area_words);
}

// ---- parts -------------------------------------------------------------------------------------

Buddy::FreshContent Buddy::fresh_content(abi::Pfn block, abi::Order order) const {
  FreshContent content;
  for_each_part(block, order, [&content](abi::Pfn, abi::FrameTag tag) {
    if (tag.kind() == abi::FrameKind::fresh) {
      content.frames += tag.order().frames();
      ++content.parts;
    }
    return true;
  });
  return content;
}

Freshness Buddy::freshness(abi::Pfn block, abi::Order order) const {
  auto result = Freshness::answered;
  for_each_part(block, order, [&result](abi::Pfn, abi::FrameTag tag) {
    if (tag.kind() == abi::FrameKind::fresh) {
      result = Freshness::fresh;
      return false;
    }
    return true;
  });
  return result;
}

// The reverse of FrameTags::join. The parts of a mixed block are no larger than its halves, so each
// half is tiled by its own already.
void Buddy::split(abi::Pfn block, abi::Order order) {
  const abi::FrameTag tag = tags_.get(block);
  if (tag.order() == order) {
    const abi::Order half = smaller(order);
    tags_.put(block, tag.kind(), half);
    tags_.put(block + half.frames(), tag.kind(), half);
  }
}

// Restores "two buddy parts of one kind are one" after kinds changed inside a block. Recurses at
// most max_order deep and visits no more than twice the block's parts.
void Buddy::collapse(abi::Pfn block, abi::Order order) {
  if (is_uniform(block, order)) {
    return;
  }
  const abi::Order half = smaller(order);
  collapse(block, half);
  collapse(block + half.frames(), half);
  tags_.join(block, half);
}

// ---- free blocks -------------------------------------------------------------------------------

// Makes a block free: merges it as far as it goes. Inline, because most callers know `which`, and
// half the time of a free is spent here. The count of reportable frames follows along:
// content is counted when it is inserted at, or crosses to, the report order.
[[gnu::always_inline]] inline void Buddy::insert(abi::Pfn block, abi::Order order,
                                                 Freshness which) {
  if (which == Freshness::fresh && order >= report_order_) {
    reportable_ += fresh_content(block, order).frames;
  }
  std::uint64_t index = free_.index_of(block, order);
  while (order.value < abi::max_order && free_.remove_if_free(index ^ 1, order, which)) {
    block = {block.value & ~order.frames()};
    tags_.join(block, order);
    index /= 2;
    order = larger(order);
    if (which == Freshness::fresh && order == report_order_) {
      reportable_ += fresh_content(block, order).frames;
    }
  }
  free_.add_at(index, order, which);
}

void Buddy::skip_hole() {
  if (hole().contains(frontier_)) {
    frontier_ = hole().end;
  }
}

// Moves the frontier by one block, the largest that fits and is aligned.
bool Buddy::carve() {
  // The hole is aligned to largest blocks, so no aligned block below its start reaches into it.
  const abi::Pfn limit = std::min(plugged_end_, tags_.end());
  if (frontier_ >= limit) {
    return false;
  }
  const int aligned = std::min(std::countr_zero(frontier_.value), static_cast<int>(abi::max_order));
  const int fitting = static_cast<int>(std::bit_width(limit - frontier_)) - 1;
  const abi::Order block_order{static_cast<std::uint8_t>(std::min(aligned, fitting))};
  const abi::Pfn block = frontier_;
  frontier_ = frontier_ + block_order.frames();
  skip_hole();
  answered_frames_ += block_order.frames();
  never_used_frames_ += block_order.frames();
  tags_.put(block, abi::FrameKind::none, block_order);
  insert(block, block_order, Freshness::answered);
  return true;
}

// ---- allocate and free -------------------------------------------------------------------------

// The lowest 2 MiB area with a free block that is large enough but no whole area, and the smallest
// such block in it: one look at the lowest block of each order.
std::optional<Buddy::Candidate> Buddy::lowest_part(abi::Order order, Freshness which) const {
  std::optional<Candidate> best;
  std::uint64_t best_area = ~std::uint64_t{0};
  std::uint32_t orders = free_.orders_with(which, order) & ((1U << area_order.value) - 1);
  for (; orders != 0; orders &= orders - 1) {
    const abi::Order at{static_cast<std::uint8_t>(std::countr_zero(orders))};
    const abi::Pfn block = free_.lowest(at, which);
    const std::uint64_t area = block.value >> area_order.value;
    if (area < best_area) {
      best_area = area;
      best = {.block = block, .order = at, .which = which};
    }
  }
  return best;
}

// The smallest block that is large enough and at least a whole area, the lowest among equals.
std::optional<Buddy::Candidate> Buddy::smallest_whole(abi::Order order, Freshness which) const {
  const std::uint32_t orders = free_.orders_with(which, std::max(order, area_order));
  if (orders == 0) {
    return std::nullopt;
  }
  const abi::Order at{static_cast<std::uint8_t>(std::countr_zero(orders))};
  return Candidate{.block = free_.lowest(at, which), .order = at, .which = which};
}

std::optional<Buddy::Candidate> Buddy::choose(abi::Order order) const {
  for (const Freshness which : {Freshness::fresh, Freshness::answered}) {
    if (const auto part = lowest_part(order, which)) {
      return part;
    }
    if (const auto whole = smallest_whole(order, which)) {
      return whole;
    }
  }
  return std::nullopt;
}

std::optional<Buddy::Candidate> Buddy::choose_or_carve(abi::Order order) {
  for (;;) {
    const std::optional<Candidate> chosen = choose(order);
    if (chosen || !carve()) {
      return chosen;
    }
  }
}

BuddyAllocation Buddy::no_memory() const {
  return {.status = plugged_end_ < tags_.end() ? AllocateStatus::needs_plug
                                               : AllocateStatus::out_of_memory,
          .pfn = {}};
}

BuddyAllocation Buddy::allocate(abi::Order order) {
  const std::optional<Candidate> chosen = choose_or_carve(order);
  return chosen ? take_one(*chosen, order) : no_memory();
}

std::uint32_t Buddy::allocate_many(abi::Order order, std::span<BuddyAllocation> out) {
  std::uint32_t count = 0;
  while (count < out.size()) {
    const std::optional<Candidate> chosen = choose_or_carve(order);
    if (!chosen) {
      if (count == 0) {
        out[0] = no_memory();
      }
      break;
    }
    // One after another they would come from the same larger block, from its start.
    std::uint32_t several = 1;
    if (chosen->order > order && is_uniform(chosen->block, chosen->order)) {
      several = static_cast<std::uint32_t>(
          std::min(std::bit_floor(out.size() - count),
                   std::size_t{1} << (chosen->order.value - order.value)));
    }
    if (several == 1) {
      out[count] = take_one(*chosen, order);
    } else {
      take_several(*chosen, order, out.subspan(count, several));
    }
    count += several;
  }
  return count;
}

BuddyAllocation Buddy::allocate_below(abi::Order order, abi::Pfn limit) {
  for (const Freshness which : {Freshness::fresh, Freshness::answered}) {
    const std::optional<Candidate> part = lowest_part(order, which);
    if (part && part->block < limit) {
      return take_one(*part, order);
    }
  }
  return {};
}

BuddyAllocation Buddy::take_one(const Candidate& chosen, abi::Order order) {
  return hand_out(take(chosen, order), order);
}

// A power of two of blocks from the start of a uniform one: as one block, then cut into pieces.
void Buddy::take_several(const Candidate& chosen, abi::Order order,
                         std::span<BuddyAllocation> out) {
  const auto log2_count = static_cast<unsigned>(std::countr_zero(out.size()));
  const abi::Order whole_order{static_cast<std::uint8_t>(order.value + log2_count)};
  BuddyAllocation whole = take_one(chosen, whole_order);
  whole.was.reused_frames = static_cast<std::uint16_t>(whole.was.reused_frames >> log2_count);
  whole.was.first_part = abi::FrameTag::make(whole.was.first_part.kind(), order);
  for (std::size_t index = 0; index < out.size(); ++index) {
    out[index] = whole;
    out[index].pfn = whole.pfn + index * order.frames();
    tags_.put(out[index].pfn, abi::FrameKind::allocated, order);
  }
}

// Takes a block of the wanted order out of a free one that is in a bitmap.
abi::Pfn Buddy::take(const Candidate& chosen, abi::Order order) {
  auto [block, at, which] = chosen;
  free_.remove(block, at, which);

  // Descend to the wanted order, into the half with fresh content, else into the lower one.
  while (at > order) {
    if (which == Freshness::fresh && at == report_order_) {
      reportable_ -= fresh_content(block, at).frames;
    }
    split(block, at);
    at = smaller(at);
    const abi::Pfn right = block + at.frames();
    if (which == Freshness::answered) {
      free_.add(right, at, Freshness::answered);
    } else if (freshness(block, at) == Freshness::fresh) {
      free_.add(right, at, freshness(right, at));
    } else {
      free_.add(block, at, Freshness::answered);
      block = right;
    }
  }
  if (which == Freshness::fresh && order >= report_order_) {
    reportable_ -= fresh_content(block, order).frames;
  }
  return block;
}

// The block is in no bitmap any more; accounts for its parts and makes it allocated.
BuddyAllocation Buddy::hand_out(abi::Pfn block, abi::Order order) {
  std::uint64_t fresh = 0;
  std::uint64_t reported = 0;
  std::uint64_t never_used = 0;
  const abi::FrameTag first_part = tags_.get(block);
  for_each_part(block, order, [&](abi::Pfn part, abi::FrameTag tag) {
    const std::uint64_t frames = tag.order().frames();
    fresh += tag.kind() == abi::FrameKind::fresh ? frames : 0;
    reported += tag.kind() == abi::FrameKind::reported ? frames : 0;
    never_used += tag.kind() == abi::FrameKind::none ? frames : 0;
    // What is fresh was handed out since it was last answered: its bits are set, and a large block
    // has hundreds of them.
    if (tag.kind() != abi::FrameKind::fresh) {
      tags_.set_audit(part, tag.order());
    }
    return true;
  });
  fresh_frames_ -= fresh;
  answered_frames_ -= order.frames() - fresh;
  never_used_frames_ -= never_used;
  reused_frames_ += reported;
  tags_.put(block, abi::FrameKind::allocated, order);
  areas_.handed_out(block, order, fresh);
  const std::uint64_t zero =
      never_used + (discarded_ == DiscardedContent::zero ? reported : std::uint64_t{0});
  return {.status = AllocateStatus::ok,
          .content = zero == order.frames() ? Content::zeroed : Content::dirty,
          .was = {.reused_frames = static_cast<std::uint16_t>(reported),
                  .first_part = abi::FrameTag::make(first_part.kind(), first_part.order())},
          .pfn = block};
}

void Buddy::free_cached(abi::Pfn pfn, abi::Order order) {
  tags_.put(pfn, abi::FrameKind::fresh, order);
  areas_.came_back_fresh(pfn, order);
  fresh_frames_ += order.frames();
  insert(pfn, order, Freshness::fresh);
}

// Of the block's tags only the first was overwritten, so with that all parts are what they were.
void Buddy::free_untouched(abi::Pfn pfn, abi::Order order, const UntouchedBlock& was) {
  tags_.put(pfn, was.first_part.kind(), was.first_part.order());
  tags_.clear_audit(pfn, order);
  areas_.came_back_untouched(pfn, order);
  reused_frames_ -= was.reused_frames;
  answered_frames_ += order.frames();
  never_used_frames_ += order.frames() - was.reused_frames;
  insert(pfn, order, Freshness::answered);
}

// ---- movable blocks ----------------------------------------------------------------------------

void Buddy::make_movable(abi::Pfn block, abi::Order order, std::uint32_t cookie) {
  std::atomic_ref(cookies_[block - tags_.base()]).store(cookie, std::memory_order_relaxed);
  // Who finds the tag also finds this cookie, not an older one.
  tags_.put(block, abi::FrameKind::movable, order, std::memory_order_release);
}

std::uint32_t Buddy::cookie(abi::Pfn block) const {
  return std::atomic_ref(cookies_[block - tags_.base()]).load(std::memory_order_relaxed);
}

// ---- answers -----------------------------------------------------------------------------------

void Buddy::answer(abi::RangeDescriptor hint, abi::Outcome outcome) {
  tags_.put(hint.pfn(),
            outcome == abi::Outcome::discarded ? abi::FrameKind::reported
                                               : abi::FrameKind::declined,
            hint.order());
  tags_.clear_audit(hint.pfn(), hint.order());
}

void Buddy::acknowledge(std::span<const abi::RangeDescriptor> ranges,
                        const abi::CompletionEntry& answers) {
  for (std::uint32_t index = 0; index < ranges.size();) {
    const abi::RangeDescriptor outer = ranges[index];
    const abi::Pfn end = outer.pfn() + outer.order().frames();
    if (outer.kind() == abi::RangeKind::hint) {
      answer(outer, answers.outcome(index));
      ++index;
    } else {
      // A span covers the hints that follow it and lie inside.
      for (++index; index < ranges.size() && ranges[index].kind() == abi::RangeKind::hint &&
                    ranges[index].pfn() >= outer.pfn() && ranges[index].pfn() < end;
           ++index) {
        answer(ranges[index], answers.outcome(index));
      }
      collapse(outer.pfn(), outer.order());
    }
    isolated_frames_ -= outer.order().frames();
    answered_frames_ += outer.order().frames();
    insert(outer.pfn(), outer.order(), Freshness::answered);
  }
}

void Buddy::set_report_order(abi::Order order) {
  report_order_ = std::min(order, abi::Order{abi::max_order});
  reportable_ = 0;
  for (abi::Order list = report_order_; list.value <= abi::max_order; ++list.value) {
    free_.for_each(list, Freshness::fresh,
                   [&](abi::Pfn block) { reportable_ += fresh_content(block, list).frames; });
  }
}

} // namespace guest::mm
