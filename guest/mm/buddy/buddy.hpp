// SPDX-License-Identifier: MIT
// The buddy allocator behind free page hinting: knows of every free block what the host has
// already been told about it. It never touches the pages themselves; all state is in metadata
// memory that the caller supplies zeroed and that is written only where it is needed.
//
//   first            frontier          plugged_end        end
//     |  managed blocks  |  never handed out  |  not mapped  |
//
//   free --merge--> free block --isolate()--> isolated --acknowledge()--> free block, answered
//
// A free block is tiled by *parts*, buddy-aligned pieces in one FrameKind: fresh, reported,
// declined, or none (carved from the frontier, never handed out). The tag of a part's first frame
// holds its kind and order. Two buddy parts of one kind are always collapsed into one. A block
// with one part is uniform; every other one is mixed.
//
// FreeBlocks names the free blocks: those with any fresh part, and those that are wholly answered.
// Invariants:
//   - a block is free exactly if it is in one of the two sets of its order,
//   - no two free buddies stay unmerged,
//   - nothing at or above the frontier is in a set,
//   - fresh + answered + isolated + owned frames = frames in [first, frontier) without the hole.
// The frontier jumps over the hole, which is aligned to largest blocks: no block touches it.
// Not thread-safe: the lock is one level up.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/mm/buddy/allocation.hpp"
#include "guest/mm/buddy/area_use.hpp"
#include "guest/mm/buddy/frame_hole.hpp"
#include "guest/mm/buddy/frame_tags.hpp"
#include "guest/mm/buddy/free_blocks.hpp"
#include "shared/address.hpp"
#include "shared/frame_tag.hpp"
#include "shared/report_channel.hpp"

namespace guest::mm {

// What a page reads as after the host answered it as discarded.
enum class DiscardedContent : std::uint8_t { unknown, zero };

struct BuddyConfig {
  abi::Pfn first;
  abi::Pfn end;               // at most 2^26 frames above first
  abi::Pfn plugged_end;       // may lie above end, or inside the hole
  abi::Order report_order{9}; // smallest block that isolate() takes
  DiscardedContent discarded = DiscardedContent::zero;
  FrameHole hole{}; // no RAM; grown to multiples of the largest block
};

// What a block was before it was handed out, for free_untouched().
struct UntouchedBlock {
  std::uint16_t reused_frames = 0; // that had been answered as discarded
  abi::FrameTag first_part{};      // without its audit bit
};

struct BuddyAllocation {
  AllocateStatus status = AllocateStatus::out_of_memory;
  Content content = Content::dirty;
  UntouchedBlock was{};
  abi::Pfn pfn;

  [[nodiscard]] bool ok() const { return status == AllocateStatus::ok; }
};

// Whether isolate() takes smaller blocks where a larger one does not fit, or leaves them: small
// blocks are what allocations take first.
enum class SmallBlocks : std::uint8_t { instead, later };

// What isolate() put into a batch.
struct IsolatedBatch {
  std::uint32_t descriptors = 0; // hints and spans
  std::uint32_t hints = 0;
  std::uint64_t hinted_frames = 0;
  std::uint64_t block_frames = 0; // hinted, and enclosed by spans
};

class Buddy {
 public:
  static constexpr abi::Order area_order = AreaUse::area_order;

  // Bytes of metadata for frames [first, end): about 5.6 per frame, of which 4 are for cookies and
  // written for movable blocks only. Grows with the range, so a caller that carves the metadata out
  // of the range itself may ask before it does.
  [[nodiscard]] static std::size_t metadata_bytes(abi::Pfn first, abi::Pfn end);

  // `metadata` holds metadata_bytes() zero bytes, 8-byte aligned, and outlives the allocator.
  Buddy(const BuddyConfig& config, std::span<std::byte> metadata);
  Buddy(const Buddy&) = delete;
  Buddy& operator=(const Buddy&) = delete;

  // Prefers memory with fresh (resident) content to answered memory, that to the frontier; within
  // each, what lies in 2 MiB areas that are in use anyway, the lowest area first, to the smallest
  // larger block. So the upper areas run empty and can be reported whole. order is at most
  // max_order.
  [[nodiscard]] BuddyAllocation allocate(abi::Order order);

  // Takes back a block in state `allocated`; its content becomes fresh.
  [[nodiscard]] FreeResult free(abi::Pfn pfn, abi::Order order) {
    const FreeResult result = tags_.check_owned(pfn, order);
    if (result == FreeResult::ok) {
      free_cached(pfn, order);
    }
    return result;
  }
  // The same without a look at its state, for callers that have already tagged it `cached`.
  void free_cached(abi::Pfn pfn, abi::Order order);
  // Takes back a block that allocate() had called zeroed and nobody has touched since, neither page
  // nor tags behind its first: it is again what it `was`, as allocate() had said.
  void free_untouched(abi::Pfn pfn, abi::Order order, const UntouchedBlock& was);

  // Allocates as many blocks as out.size() calls of allocate() would, the same ones; less work
  // where a larger block is broken up. Returns how many; if none, out[0] says why.
  [[nodiscard]] std::uint32_t allocate_many(abi::Order order, std::span<BuddyAllocation> out);

  // Allocates from the areas below `limit` that are in use anyway, if one of them has room.
  [[nodiscard]] BuddyAllocation allocate_below(abi::Order order, abi::Pfn limit);

  // For who needs certain addresses, or more than a largest block (buddy_ranges.cpp): takes that
  // very block, aligned to its size, if all of it is free.
  [[nodiscard]] BuddyAllocation allocate_at(abi::Pfn block, abi::Order order);
  // The lowest place, a multiple of the largest block, from which on at least so many frames in a
  // row are free in whole largest blocks. Empty when there is none; frames that are not plugged
  // yet count as free.
  [[nodiscard]] std::optional<abi::Pfn> find_run(std::uint64_t frames) const;
  // A block that somebody owns, of an order above 0, becomes two of half its size.
  void split_owned(abi::Pfn block, abi::Order order);

  // Lets an allocated block be moved, until it is freed. The cookie tells its owner which it is.
  // May be called without the lock, by the owner.
  void make_movable(abi::Pfn block, abi::Order order, std::uint32_t cookie);
  [[nodiscard]] std::uint32_t cookie(abi::Pfn block) const;
  [[nodiscard]] AreaUse& areas() { return areas_; }
  [[nodiscard]] const AreaUse& areas() const { return areas_; }

  // Takes blocks of at least the report order that have fresh content out of the allocator and
  // describes them in `out`: a uniform block as a hint, a mixed one as a span followed by a hint
  // for each fresh part. Largest blocks first, highest address first (allocation takes the
  // lowest). Stops before `goal` descriptors are exceeded, except by one block that needs more,
  // and before fewer than `keep_frames` reportable fresh frames would stay. out.size() is at
  // least 2; a block that needs more descriptors than that is taken in halves. `small`: what to do
  // when a block is more than what would stay allows.
  [[nodiscard]] IsolatedBatch isolate(std::uint32_t goal, std::uint64_t keep_frames,
                                      std::span<abi::RangeDescriptor> out,
                                      SmallBlocks small = SmallBlocks::instead);
  // The same from the blocks of one order alone, which is at least the report order.
  [[nodiscard]] IsolatedBatch isolate_list(abi::Order list, std::uint32_t goal,
                                           std::uint64_t keep_frames,
                                           std::span<abi::RangeDescriptor> out);

  // Puts back what one isolate() described, with the host's answers. Batches may be acknowledged
  // in any order, each once.
  void acknowledge(std::span<const abi::RangeDescriptor> ranges,
                   const abi::CompletionEntry& answers);

  // RAM below is mapped; may only grow.
  void set_plugged_end(abi::Pfn end) { plugged_end_ = end; }
  // Counts the reportable frames anew: a walk over the fresh blocks of at least this order.
  void set_report_order(abi::Order order);

  [[nodiscard]] abi::Order report_order() const { return report_order_; }
  [[nodiscard]] abi::Pfn frontier() const { return frontier_; }
  [[nodiscard]] abi::Pfn plugged_end() const { return plugged_end_; }
  // As it is observed, grown to multiples of the largest block.
  [[nodiscard]] const FrameHole& hole() const { return tags_.hole(); }
  [[nodiscard]] FrameTags& tags() { return tags_; }
  [[nodiscard]] const FrameTags& tags() const { return tags_; }

  // Exact counts of free frames.
  [[nodiscard]] std::uint64_t fresh_frames() const { return fresh_frames_; }
  [[nodiscard]] std::uint64_t answered_frames() const { return answered_frames_; }
  [[nodiscard]] std::uint64_t isolated_frames() const { return isolated_frames_; }
  // Of the answered and isolated ones: carved from the frontier and not handed out since. There is
  // no memory behind them that could be given back.
  [[nodiscard]] std::uint64_t never_used_frames() const { return never_used_frames_; }
  // Fresh frames in free blocks of at least the report order: what isolate() can take.
  [[nodiscard]] std::uint64_t fresh_frames_at_or_above_report_order() const { return reportable_; }
  // Free blocks of this order, fresh or not.
  [[nodiscard]] std::uint64_t free_blocks(abi::Order order) const { return free_.count(order); }
  // Free frames in blocks of at least this order, fresh or not.
  [[nodiscard]] std::uint64_t free_frames_at_or_above(abi::Order order) const {
    std::uint64_t frames = 0;
    for (; order.value <= abi::max_order; ++order.value) {
      frames += free_blocks(order) << order.value;
    }
    return frames;
  }
  // Since construction: frames hinted though not allocated since they were last answered
  // (always 0), and reported frames that were handed out again.
  [[nodiscard]] std::uint64_t redundant_frames() const { return redundant_frames_; }
  [[nodiscard]] std::uint64_t reused_frames() const { return reused_frames_; }

  // Calls visit(Pfn, Order, bool has_fresh) for every free block. For tests and dumps.
  template <typename Visit> void for_each_free_block(Visit visit) const;

 private:
  struct FreshContent {
    std::uint64_t frames = 0;
    std::uint32_t parts = 0;
  };

  [[nodiscard]] bool is_uniform(abi::Pfn block, abi::Order order) const {
    return tags_.get(block).order() == order;
  }
  // Calls visit(Pfn, FrameTag) for each part, in address order, until it returns false.
  template <typename Visit> void for_each_part(abi::Pfn block, abi::Order order, Visit visit) const;
  [[nodiscard]] FreshContent fresh_content(abi::Pfn block, abi::Order order) const;
  [[nodiscard]] Freshness freshness(abi::Pfn block, abi::Order order) const;

  void insert(abi::Pfn block, abi::Order order, Freshness which);
  void split(abi::Pfn block, abi::Order order);
  void collapse(abi::Pfn block, abi::Order order);
  void skip_hole();
  [[nodiscard]] bool carve();
  [[nodiscard]] bool isolate_from(abi::Order list, std::uint32_t goal, std::uint64_t keep_frames,
                                  std::span<abi::RangeDescriptor> out, SmallBlocks small,
                                  IsolatedBatch& batch);

  // A free block to allocate from.
  struct Candidate {
    abi::Pfn block;
    abi::Order order;
    Freshness which;
  };
  [[nodiscard]] std::optional<Candidate> lowest_part(abi::Order order, Freshness which) const;
  [[nodiscard]] std::optional<Candidate> smallest_whole(abi::Order order, Freshness which) const;
  [[nodiscard]] std::optional<Candidate> choose(abi::Order order) const;
  [[nodiscard]] std::optional<Candidate> choose_or_carve(abi::Order order);
  [[nodiscard]] BuddyAllocation no_memory() const;
  [[nodiscard]] abi::Pfn take(const Candidate& chosen, abi::Order order);
  [[nodiscard]] std::optional<Candidate> enclosing(abi::Pfn block, abi::Order order) const;
  void take_at(const Candidate& chosen, abi::Pfn wanted, abi::Order order);
  [[nodiscard]] BuddyAllocation take_one(const Candidate& chosen, abi::Order order);
  void take_several(const Candidate& chosen, abi::Order order, std::span<BuddyAllocation> out);

  [[nodiscard]] BuddyAllocation hand_out(abi::Pfn block, abi::Order order);
  void answer(abi::RangeDescriptor hint, abi::Outcome outcome);

  FrameTags tags_;
  AreaUse areas_;
  std::uint32_t* cookies_ = nullptr;
  FreeBlocks free_;
  abi::Pfn frontier_;
  abi::Pfn plugged_end_;
  abi::Order report_order_;
  DiscardedContent discarded_;
  std::uint64_t fresh_frames_ = 0;
  std::uint64_t answered_frames_ = 0;
  std::uint64_t isolated_frames_ = 0;
  std::uint64_t never_used_frames_ = 0;
  std::uint64_t reportable_ = 0;
  std::uint64_t reused_frames_ = 0;
  std::uint64_t redundant_frames_ = 0;
};

template <typename Visit> void Buddy::for_each_free_block(Visit visit) const {
  for (const Freshness which : {Freshness::answered, Freshness::fresh}) {
    for (abi::Order order{0}; order.value <= abi::max_order; ++order.value) {
      free_.for_each(order, which,
                     [&](abi::Pfn block) { visit(block, order, which == Freshness::fresh); });
    }
  }
}

template <typename Visit>
void Buddy::for_each_part(abi::Pfn block, abi::Order order, Visit visit) const {
  const abi::Pfn end = block + order.frames();
  for (abi::Pfn part = block; part < end;) {
    const abi::FrameTag tag = tags_.get(part);
    if (!visit(part, tag)) {
      return;
    }
    part = part + tag.order().frames();
  }
}

} // namespace guest::mm
