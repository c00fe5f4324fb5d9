// SPDX-License-Identifier: MIT
// How each 2 MiB area of memory is used: frames that somebody owns, and frames that are free but
// probably still resident. Finds areas that a few owned frames keep from going back to the host.
// 4.1 bytes an area of zeroed memory of the caller, written only for areas in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/mm/buddy/bitmap_tree.hpp"
#include "shared/address.hpp"

namespace guest::mm {

class AreaUse {
 public:
  static constexpr abi::Order area_order{9};
  static constexpr std::uint64_t area_frames = area_order.frames();
  // An area is sparse when each owned frame pins at least this many fresh ones: moving one page
  // costs a copy and at worst a fault, and the area is worth many of each.
  static constexpr std::uint64_t sparse_ratio = 8;

  // Words of memory for `frames` frames, a multiple of an area's.
  [[nodiscard]] static std::size_t words_needed(std::uint64_t frames);

  AreaUse() = default;
  // `words` holds words_needed() zero words and outlives this; `base` is aligned to an area.
  AreaUse(std::span<std::uint64_t> words, abi::Pfn base, std::uint64_t frames);

  // A block is handed out, of which so many frames were fresh; or comes back, all of it fresh, or
  // as little as it was when it left.
  void handed_out(abi::Pfn block, abi::Order order, std::uint64_t fresh_frames) {
    change(block, order, {.owned = order.frames(), .fresh = 0 - fresh_frames},
           {.owned = area_frames, .fresh = 0});
  }
  void came_back_fresh(abi::Pfn block, abi::Order order) {
    change(block, order, {.owned = 0 - order.frames(), .fresh = order.frames()},
           {.owned = 0, .fresh = area_frames});
  }
  void came_back_untouched(abi::Pfn block, abi::Order order) {
    change(block, order, {.owned = 0 - order.frames(), .fresh = 0}, {.owned = 0, .fresh = 0});
  }
  // Fresh frames are on their way to the host.
  void isolated(abi::Pfn part, abi::Order order) {
    change(part, order, {.owned = 0, .fresh = 0 - order.frames()}, {.owned = 0, .fresh = 0});
  }

  // First frame of the sparse area that lies highest. Nothing if there is none, or only such as
  // were passed over.
  [[nodiscard]] bool has_sparse() const { return !sparse_.empty(); }
  [[nodiscard]] abi::Pfn highest_sparse() const {
    return base_ + sparse_.find_last() * area_frames;
  }
  // Leaves a sparse area out until it changes.
  void pass_over(abi::Pfn area) { sparse_.clear(index_of(area)); }

  [[nodiscard]] std::uint64_t owned_frames(abi::Pfn in_area) const {
    return counts_[index_of(in_area)].owned;
  }
  [[nodiscard]] std::uint64_t fresh_frames(abi::Pfn in_area) const {
    return counts_[index_of(in_area)].fresh;
  }

 private:
  struct Counts {
    std::uint16_t owned;
    std::uint16_t fresh;
  };
  static_assert(sizeof(std::uint64_t) % sizeof(Counts) == 0);

  // Frames, or differences of frames, which wrap.
  struct Frames {
    std::uint64_t owned;
    std::uint64_t fresh;
  };

  // A part of an area changes it by `difference`; a block of whole areas leaves each as `whole`.
  void change(abi::Pfn block, abi::Order order, Frames difference, Frames whole) {
    const std::uint64_t area = index_of(block);
    if (order < area_order) [[likely]] {
      const Counts before = counts_[area];
      set(area, {.owned = static_cast<std::uint16_t>(before.owned + difference.owned),
                 .fresh = static_cast<std::uint16_t>(before.fresh + difference.fresh)});
      return;
    }
    // One or two areas.
    const Counts counts{.owned = static_cast<std::uint16_t>(whole.owned),
                        .fresh = static_cast<std::uint16_t>(whole.fresh)};
    for (std::uint64_t next = 0; next < order.frames() / area_frames; ++next) {
      set(area + next, counts);
    }
  }
  void set(std::uint64_t area, Counts counts) {
    counts_[area] = counts;
    const bool sparse = counts.owned != 0 && counts.fresh >= counts.owned * sparse_ratio;
    if (sparse != sparse_.test(area)) [[unlikely]] {
      mark(area, sparse);
    }
  }
  // Out of line, so that what inlines the rest stays small.
  void mark(std::uint64_t area, bool sparse);
  [[nodiscard]] std::uint64_t index_of(abi::Pfn frame) const {
    return (frame - base_) / area_frames;
  }

  Counts* counts_ = nullptr;
  abi::Pfn base_;
  BitmapTree sparse_;
};

} // namespace guest::mm
