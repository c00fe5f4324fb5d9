// SPDX-License-Identifier: MIT
// Typed access to the frame tags (shared/frame_tag.hpp) of a range of frames.
//
// A tag belongs to whoever owns its frame: the allocator's lock for free and isolated blocks, a
// cache's lock for cached ones, the owner for allocated ones. Reads and writes are relaxed atomic
// bytes, so checking a wild free reads a stale tag at worst.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "guest/mm/buddy/allocation.hpp"
#include "guest/mm/buddy/frame_hole.hpp"
#include "shared/address.hpp"
#include "shared/frame_tag.hpp"

namespace guest::mm {

class FrameTags {
 public:
  FrameTags() = default;
  // tags[0] describes `base`, which is aligned to the largest block; [first, end) is the memory
  // that is managed, within what `tags` covers. Nobody puts a tag inside the hole.
  FrameTags(abi::FrameTag* tags, abi::Pfn base, abi::Pfn first, abi::Pfn end, FrameHole hole = {})
      : tags_(tags), base_(base), first_(first), end_(end), hole_(hole) {}

  [[nodiscard]] const abi::FrameTag* data() const { return tags_; }
  [[nodiscard]] abi::Pfn base() const { return base_; }
  [[nodiscard]] abi::Pfn first() const { return first_; }
  [[nodiscard]] abi::Pfn end() const { return end_; }
  [[nodiscard]] const FrameHole& hole() const { return hole_; }

  // With acquire, who reads a tag also sees what was written before put() with release.
  [[nodiscard]] abi::FrameTag get(abi::Pfn pfn,
                                  std::memory_order memory = std::memory_order_relaxed) const {
    return {std::atomic_ref(tags_[pfn - base_].bits).load(memory)};
  }

  // Keeps the audit bit.
  void put(abi::Pfn pfn, abi::FrameKind kind, abi::Order order,
           std::memory_order memory = std::memory_order_relaxed) {
    const std::atomic_ref bits(tags_[pfn - base_].bits);
    const unsigned audit = bits.load(std::memory_order_relaxed) & abi::FrameTag::audit_bit;
    bits.store(static_cast<std::uint8_t>(audit | abi::FrameTag::make(kind, order).bits), memory);
  }

  // Two buddies become one block: one part if both were, in the same kind.
  void join(abi::Pfn left, abi::Order half_order) {
    std::uint8_t* const bits = &tags_[left - base_].bits;
    const std::atomic_ref first(bits[0]);
    const unsigned before = first.load(std::memory_order_relaxed);
    const unsigned second =
        std::atomic_ref(bits[half_order.frames()]).load(std::memory_order_relaxed);
    // Equal kinds and orders, and this order; one more in the lowest bits is the next order.
    const unsigned differing = (before ^ second) & ~unsigned{abi::FrameTag::audit_bit};
    if (differing == 0 && (before & abi::FrameTag::order_bits) == half_order.value) {
      first.store(static_cast<std::uint8_t>(before + 1), std::memory_order_relaxed);
    }
  }

  // Whether a block may be freed: somebody owns it, and it is as large as they say.
  [[nodiscard]] FreeResult check_owned(abi::Pfn pfn, abi::Order order) const {
    if (order.value > abi::max_order) {
      return FreeResult::wrong_order;
    }
    if (pfn < first_ || pfn >= end_ || end_ - pfn < order.frames()) {
      return FreeResult::out_of_range;
    }
    const abi::FrameTag tag = get(pfn);
    if (tag.kind() != abi::FrameKind::allocated && tag.kind() != abi::FrameKind::movable) {
      if (hole_.contains(pfn)) {
        return FreeResult::out_of_range; // looked at here only, so that good frees need not
      }
      return pfn.value % order.frames() != 0 ? FreeResult::unaligned : FreeResult::not_allocated;
    }
    return tag.order() == order ? FreeResult::ok : FreeResult::wrong_order;
  }

  // The audit bits of all frames of a block. Only for the block's owner.
  void set_audit(abi::Pfn pfn, abi::Order order) {
    for_each_word(pfn, order, [](std::uint64_t word) { return word | every_audit_bit; });
  }
  void clear_audit(abi::Pfn pfn, abi::Order order) {
    for_each_word(pfn, order, [](std::uint64_t word) { return word & ~every_audit_bit; });
  }
  // Frames of the block whose audit bit is clear.
  [[nodiscard]] std::uint64_t count_audit_clear(abi::Pfn pfn, abi::Order order) {
    std::uint64_t set = 0;
    for_each_word(pfn, order, [&set](std::uint64_t word) {
      // Sums eight bytes of 0 or 1 in the top byte; needs no library on any target.
      set += (((word & every_audit_bit) >> 7) * 0x0101010101010101) >> 56;
      return word;
    });
    return order.frames() - set;
  }

 private:
  using EightTags [[gnu::may_alias]] = std::uint64_t;
  static constexpr std::uint64_t every_audit_bit = 0x8080808080808080;

  // Eight tags at a time where there are as many: a largest block takes 128 steps. Atomic as every
  // access, because a wild free on another vCPU may look at one of them at any time.
  template <typename Change> void for_each_word(abi::Pfn pfn, abi::Order order, Change change) {
    std::uint8_t* bits = &tags_[pfn - base_].bits;
    const std::uint64_t frames = order.frames();
    if (frames < sizeof(std::uint64_t)) {
      for (std::uint64_t frame = 0; frame < frames; ++frame) {
        const std::atomic_ref tag(bits[frame]);
        tag.store(static_cast<std::uint8_t>(change(tag.load(std::memory_order_relaxed))),
                  std::memory_order_relaxed);
      }
      return;
    }
    for (std::uint64_t frame = 0; frame < frames; frame += sizeof(std::uint64_t)) {
      // Aligned: the block, the first tag's frame and the tags themselves all are.
      auto* const word = reinterpret_cast<EightTags*>(bits + frame);
      __atomic_store_n(word, change(__atomic_load_n(word, __ATOMIC_RELAXED)), __ATOMIC_RELAXED);
    }
  }

  abi::FrameTag* tags_ = nullptr;
  abi::Pfn base_;
  abi::Pfn first_;
  abi::Pfn end_;
  FrameHole hole_;
};

} // namespace guest::mm
