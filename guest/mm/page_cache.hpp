// SPDX-License-Identifier: MIT
// A vCPU's stock of small free blocks, so that most allocations and frees need no shared lock.
//
// Fixed stacks, one per order, last in first out. A block in it has the tag kind `cached`, which is
// how a double free is caught without looking into the stacks. Not thread-safe: its user holds the
// cache's lock (PageAllocator).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "guest/mm/buddy/allocation.hpp"
#include "guest/mm/buddy/buddy.hpp"
#include "guest/mm/buddy/frame_tags.hpp"
#include "shared/address.hpp"

namespace guest::mm {

class PageCache {
 public:
  static constexpr unsigned cached_orders = 4;
  static constexpr std::array<std::uint32_t, cached_orders> capacity{64, 16, 8, 8};
  static constexpr std::uint32_t total_capacity = 64 + 16 + 8 + 8;

  // A cached block. Untouched blocks came from the allocator and were not handed out since.
  struct Block {
    abi::Pfn pfn;
    abi::Order order;
    bool untouched_zero = false; // reads as zero, and nobody has it resident
    UntouchedBlock was{};        // if untouched_zero: what Buddy::allocate said
  };

  [[nodiscard]] static constexpr bool holds(abi::Order order) {
    return order.value < cached_orders;
  }
  static constexpr std::uint32_t max_bulk = capacity[0] / 2;
  // How many blocks to move at once between cache and allocator.
  [[nodiscard]] static constexpr std::uint32_t bulk(abi::Order order) {
    return capacity[order.value] / 2;
  }

  [[nodiscard]] bool empty(abi::Order order) const { return count_[order.value] == 0; }
  [[nodiscard]] bool full(abi::Order order) const {
    return count_[order.value] == capacity[order.value];
  }
  // Frames in the cache; may be read without the lock. Whoever sees a block gone also sees what
  // its taker did before taking it.
  [[nodiscard]] std::uint64_t frames() const {
    return std::atomic_ref(frames_).load(std::memory_order_acquire);
  }

  // Takes in an allocated block. The order must not be full.
  void push(FrameTags& tags, const Block& block);
  // Hands out the block that came in last. The order must not be empty.
  [[nodiscard]] Block pop(FrameTags& tags, abi::Order order);

  // Removes up to out.size() of the blocks of an order that came in first; they stay in state
  // `cached`. Returns how many.
  [[nodiscard]] std::uint32_t take_oldest(abi::Order order, std::span<Block> out);

 private:
  // Packed: bits 0...39 frame, bit 40 untouched_zero, bits 41...47 was.reused_frames, bits 48...55
  // was.first_part.
  using Packed = std::uint64_t;
  static constexpr unsigned frame_bits = 40;
  static constexpr unsigned reused_shift = 41;
  static constexpr std::uint64_t reused_mask = 0x7f;
  static constexpr unsigned first_part_shift = 48;

  static Packed pack(const Block& block);
  static Block unpack(Packed packed, abi::Order order);
  [[nodiscard]] Packed* stack(abi::Order order) { return &blocks_[first_slot[order.value]]; }
  void set_frames(std::uint64_t frames) {
    std::atomic_ref(frames_).store(frames, std::memory_order_release);
  }

  static constexpr std::array<std::uint32_t, cached_orders> first_slot{0, 64, 80, 88};

  std::array<std::uint32_t, cached_orders> count_{};
  alignas(8) mutable std::uint64_t frames_ = 0;
  std::array<Packed, total_capacity> blocks_{};
};

// Inline: an allocation or a free that hits the cache is little more than this.

inline PageCache::Packed PageCache::pack(const Block& block) {
  return block.pfn.value | (Packed{block.untouched_zero} << frame_bits) |
         (Packed{block.was.reused_frames} << reused_shift) |
         (Packed{block.was.first_part.bits} << first_part_shift);
}

inline PageCache::Block PageCache::unpack(Packed packed, abi::Order order) {
  return {
      .pfn = {packed & ((Packed{1} << frame_bits) - 1)},
      .order = order,
      .untouched_zero = ((packed >> frame_bits) & 1U) != 0,
      .was = {.reused_frames = static_cast<std::uint16_t>((packed >> reused_shift) & reused_mask),
              .first_part = {static_cast<std::uint8_t>(packed >> first_part_shift)}}};
}

inline void PageCache::push(FrameTags& tags, const Block& block) {
  tags.put(block.pfn, abi::FrameKind::cached, block.order);
  stack(block.order)[count_[block.order.value]++] = pack(block);
  set_frames(frames() + block.order.frames());
}

inline PageCache::Block PageCache::pop(FrameTags& tags, abi::Order order) {
  const Block block = unpack(stack(order)[--count_[order.value]], order);
  tags.put(block.pfn, abi::FrameKind::allocated, order);
  set_frames(frames() - order.frames());
  return block;
}

} // namespace guest::mm
