// SPDX-License-Identifier: MIT
// An independent model of guest::mm::Buddy: one state per frame, everything else by brute force
// from first principles. Follows the real allocator's operations, predicts their results and
// compares all of its visible state.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "guest/mm/buddy/buddy.hpp"
#include "shared/frame_tag.hpp"
#include "shared/report_channel.hpp"

namespace test_support {

class ReferenceBuddy {
 public:
  struct Block {
    std::uint64_t pfn = 0;
    unsigned order = 0;
    bool has_fresh = false;
    auto operator<=>(const Block&) const = default;
    [[nodiscard]] std::uint64_t end() const { return pfn + (std::uint64_t{1} << order); }
  };

  ReferenceBuddy(std::uint64_t first, std::uint64_t end, unsigned report_order,
                 guest::mm::FrameHole hole = {})
      : first_(first), frontier_(first), frames_(end), report_order_(report_order), hole_(hole) {}

  // The allocator moved its frontier.
  void advance_frontier(std::uint64_t frontier) {
    for (; frontier_ < frontier; ++frontier_) {
      if (hole_.contains({frontier_})) {
        continue; // never in the buddy
      }
      frames_[frontier_] = {.where = Where::free, .kind = abi::FrameKind::none};
    }
  }
  void set_report_order(unsigned order) { report_order_ = order; }

  // All free blocks: the largest aligned runs of free frames.
  [[nodiscard]] std::vector<Block> free_blocks() const {
    std::vector<Block> blocks;
    for (std::uint64_t base = 0; base < frames_.size(); base += 1U << abi::max_order) {
      collect(base, abi::max_order, blocks);
    }
    return blocks;
  }

  // Where the next allocation goes without a move of the frontier.
  [[nodiscard]] std::optional<std::uint64_t> expected_allocation(unsigned order) const {
    std::optional<Block> best;
    for (const Block& block : free_blocks()) {
      const auto rank = [](const Block& b) {
        constexpr unsigned area_order = guest::mm::Buddy::area_order.value;
        const bool whole = b.order >= area_order;
        return std::tuple(!b.has_fresh, whole, whole ? 0 : b.pfn >> area_order, b.order, b.pfn);
      };
      if (block.order >= order && (!best || rank(block) < rank(*best))) {
        best = block;
      }
    }
    if (!best) {
      return std::nullopt;
    }
    std::uint64_t pfn = best->pfn;
    for (unsigned at = best->order; at > order; --at) {
      const std::uint64_t half = std::uint64_t{1} << (at - 1);
      if (best->has_fresh && !has_fresh(pfn, half)) {
        pfn += half;
      }
    }
    return pfn;
  }

  // Each returns a complaint, empty when all is well.
  std::string allocate(const guest::mm::BuddyAllocation& got, unsigned order) {
    const std::uint64_t count = std::uint64_t{1} << order;
    std::uint64_t reused = 0;
    bool zero = true;
    if (got.pfn.value % count != 0 || got.pfn.value < first_ || got.pfn.value + count > frontier_) {
      return "allocated block out of range or unaligned";
    }
    for (std::uint64_t pfn = got.pfn.value; pfn < got.pfn.value + count; ++pfn) {
      Frame& frame = frames_[pfn];
      if (frame.where != Where::free) {
        return "allocated a frame that is not free";
      }
      reused += frame.kind == abi::FrameKind::reported ? 1U : 0U;
      zero = zero && (frame.kind == abi::FrameKind::reported || frame.kind == abi::FrameKind::none);
      frame = {.where = Where::owned,
               .kind = abi::FrameKind::allocated,
               .before = frame.kind,
               .used = true};
    }
    if (zero != (got.content == guest::mm::Content::zeroed)) {
      return "wrong claim about content";
    }
    reused_ += reused;
    return got.was.reused_frames == reused ? "" : "wrong reused_frames";
  }

  void free(std::uint64_t pfn, unsigned order) {
    set(pfn, order, {.where = Where::free, .kind = abi::FrameKind::fresh, .used = true});
  }

  // Every frame is again what it was before it was handed out.
  void free_untouched(std::uint64_t pfn, unsigned order) {
    for (std::uint64_t end = pfn + (std::uint64_t{1} << order); pfn < end; ++pfn) {
      Frame& frame = frames_[pfn];
      reused_ -= frame.before == abi::FrameKind::reported ? 1U : 0U;
      frame = {.where = Where::free, .kind = frame.before};
    }
  }

  // Carved from the frontier and not handed out since.
  [[nodiscard]] std::uint64_t never_used() const {
    return static_cast<std::uint64_t>(std::ranges::count_if(frames_, [](const Frame& frame) {
      return (frame.where == Where::free || frame.where == Where::isolated) &&
             frame.kind == abi::FrameKind::none;
    }));
  }

  std::string isolate(std::span<const abi::RangeDescriptor> ranges, std::uint64_t keep) {
    const std::vector<Block> before = free_blocks();
    const std::uint64_t reportable_before = reportable();
    std::uint64_t taken = 0;
    for (std::size_t index = 0; index < ranges.size();) {
      const abi::RangeDescriptor outer = ranges[index];
      const std::uint64_t begin = outer.pfn().value;
      const std::uint64_t end = begin + outer.order().frames();
      const auto home = std::find_if(before.begin(), before.end(), [&](const Block& block) {
        return block.pfn <= begin && end <= block.end();
      });
      if (home == before.end() || home->order < report_order_) {
        return "isolated something that was not a reportable free block";
      }
      const bool span = outer.kind() == abi::RangeKind::span;
      for (std::uint64_t pfn = begin; pfn < end; ++pfn) {
        if (frames_[pfn].where != Where::free) {
          return "isolated a frame that is not free";
        }
        frames_[pfn].where = Where::isolated;
      }
      index += span ? 1 : 0;
      std::size_t hints = 0;
      for (; index < ranges.size() && ranges[index].kind() == abi::RangeKind::hint &&
             ranges[index].pfn().value >= begin && ranges[index].pfn().value < end;
           ++index, ++hints) {
        for (std::uint64_t pfn = ranges[index].pfn().value;
             pfn < ranges[index].pfn().value + ranges[index].order().frames(); ++pfn) {
          if (frames_[pfn].kind != abi::FrameKind::fresh || !frames_[pfn].used) {
            return "hinted a frame that has been answered already";
          }
          frames_[pfn].kind = abi::FrameKind::isolated;
          ++taken;
        }
      }
      if (hints == 0 || (!span && hints != 1)) {
        return "span without hints";
      }
      if (has_fresh(begin, end - begin)) {
        return "isolated a block without hinting all of its fresh frames";
      }
    }
    return taken == 0 || reportable_before - taken >= keep ? "" : "went below the reserve";
  }

  void acknowledge(std::span<const abi::RangeDescriptor> ranges,
                   const abi::CompletionEntry& answers) {
    for (std::uint32_t index = 0; index < ranges.size(); ++index) {
      for (std::uint64_t pfn = ranges[index].pfn().value;
           pfn < ranges[index].pfn().value + ranges[index].order().frames(); ++pfn) {
        frames_[pfn].where = Where::free;
        if (ranges[index].kind() == abi::RangeKind::hint) {
          frames_[pfn].used = false;
          frames_[pfn].kind = answers.outcome(index) == abi::Outcome::discarded
                                  ? abi::FrameKind::reported
                                  : abi::FrameKind::declined;
        }
      }
    }
  }

  [[nodiscard]] std::uint64_t reportable() const {
    std::uint64_t total = 0;
    for (const Block& block : free_blocks()) {
      total += block.order >= report_order_ ? count_fresh(block.pfn, block.end() - block.pfn) : 0;
    }
    return total;
  }

  // Compares everything that can be seen of the allocator.
  [[nodiscard]] std::string compare(const guest::mm::Buddy& buddy) const {
    std::vector<Block> real;
    buddy.for_each_free_block([&real](abi::Pfn pfn, abi::Order order, bool fresh) {
      real.push_back({pfn.value, order.value, fresh});
    });
    std::sort(real.begin(), real.end());
    const std::vector<Block> expected = free_blocks(); // in address order
    if (real != expected) {
      return "free blocks differ: unmerged, lost, or in the wrong bitmap";
    }
    for (const Block& block : expected) {
      if (!same_parts(buddy, block.pfn, block.order)) {
        return "parts of a free block differ";
      }
    }
    if (buddy.never_used_frames() != never_used()) {
      return "never used frames miscounted";
    }
    std::uint64_t fresh = 0;
    std::uint64_t answered = 0;
    std::uint64_t isolated = 0;
    for (std::uint64_t pfn = first_; pfn < frames_.size(); ++pfn) {
      const Frame& frame = frames_[pfn];
      const bool is_fresh = frame.kind == abi::FrameKind::fresh;
      fresh += frame.where == Where::free && is_fresh ? 1U : 0U;
      answered += frame.where == Where::free && !is_fresh ? 1U : 0U;
      isolated += frame.where == Where::isolated ? 1U : 0U;
      if (buddy.tags().get({pfn}).audit() != frame.used) {
        return "audit bit differs";
      }
    }
    if (fresh != buddy.fresh_frames() || answered != buddy.answered_frames() ||
        isolated != buddy.isolated_frames()) {
      return "frame counts differ";
    }
    if (reportable() != buddy.fresh_frames_at_or_above_report_order()) {
      return "count of reportable frames differs";
    }
    if (reused_ != buddy.reused_frames()) {
      return "count of reused frames differs";
    }
    return buddy.redundant_frames() == 0 ? "" : "redundant hints";
  }

 private:
  enum class Where : std::uint8_t { nowhere, free, owned, isolated };
  struct Frame {
    Where where = Where::nowhere;
    abi::FrameKind kind = abi::FrameKind::none;
    abi::FrameKind before = abi::FrameKind::none; // if owned: kind at that moment
    bool used = false;                            // allocated since the last answer
  };

  void set(std::uint64_t pfn, unsigned order, const Frame& frame) {
    std::fill_n(frames_.begin() + static_cast<std::ptrdiff_t>(pfn), std::ptrdiff_t{1} << order,
                frame);
  }
  [[nodiscard]] std::uint64_t count_fresh(std::uint64_t pfn, std::uint64_t count) const {
    const auto begin = frames_.begin() + static_cast<std::ptrdiff_t>(pfn);
    return static_cast<std::uint64_t>(
        std::count_if(begin, begin + static_cast<std::ptrdiff_t>(count),
                      [](const Frame& frame) { return frame.kind == abi::FrameKind::fresh; }));
  }
  [[nodiscard]] bool has_fresh(std::uint64_t pfn, std::uint64_t count) const {
    return count_fresh(pfn, count) != 0;
  }
  [[nodiscard]] bool all_free(std::uint64_t pfn, std::uint64_t count) const {
    return pfn + count <= frames_.size() &&
           std::all_of(frames_.begin() + static_cast<std::ptrdiff_t>(pfn),
                       frames_.begin() + static_cast<std::ptrdiff_t>(pfn + count),
                       [](const Frame& frame) { return frame.where == Where::free; });
  }
  void collect(std::uint64_t pfn, unsigned order, std::vector<Block>& blocks) const {
    const std::uint64_t count = std::uint64_t{1} << order;
    if (all_free(pfn, count)) {
      blocks.push_back({pfn, order, has_fresh(pfn, count)});
    } else if (order != 0 && pfn < frames_.size()) {
      collect(pfn, order - 1, blocks);
      collect(pfn + count / 2, order - 1, blocks);
    }
  }
  // The parts of a block are its largest aligned pieces in one kind.
  [[nodiscard]] bool same_parts(const guest::mm::Buddy& buddy, std::uint64_t pfn,
                                unsigned order) const {
    const std::uint64_t count = std::uint64_t{1} << order;
    const abi::FrameKind kind = frames_[pfn].kind;
    const bool uniform = std::all_of(frames_.begin() + static_cast<std::ptrdiff_t>(pfn),
                                     frames_.begin() + static_cast<std::ptrdiff_t>(pfn + count),
                                     [kind](const Frame& frame) { return frame.kind == kind; });
    if (!uniform) {
      return same_parts(buddy, pfn, order - 1) && same_parts(buddy, pfn + count / 2, order - 1);
    }
    const abi::FrameTag tag = buddy.tags().get({pfn});
    return tag.order().value == order && tag.kind() == kind;
  }

  std::uint64_t first_;
  std::uint64_t frontier_;
  std::vector<Frame> frames_;
  unsigned report_order_;
  guest::mm::FrameHole hole_;
  std::uint64_t reused_ = 0;
};

} // namespace test_support
