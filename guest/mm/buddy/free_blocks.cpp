// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/free_blocks.hpp"

namespace guest::mm {

std::size_t FreeBlocks::words_needed(std::uint64_t frames) {
  std::size_t words = 0;
  for (unsigned order = 0; order < abi::order_count; ++order) {
    words += 2 * BitmapTree::words_needed(frames >> order);
  }
  return words;
}

FreeBlocks::FreeBlocks(std::span<std::uint64_t> words, abi::Pfn base, std::uint64_t frames)
    : base_(base) {
  for (const Freshness which : {Freshness::answered, Freshness::fresh}) {
    for (unsigned order = 0; order < abi::order_count; ++order) {
      const std::uint64_t blocks = frames >> order;
      const std::size_t needed = BitmapTree::words_needed(blocks);
      set_of({static_cast<std::uint8_t>(order)}, which).blocks =
          BitmapTree(words.first(needed), blocks);
      words = words.subspan(needed);
    }
  }
}

std::optional<abi::Pfn> FreeBlocks::highest(abi::Order order, Freshness which) const {
  const std::uint64_t index = set_of(order, which).blocks.find_last();
  return index == BitmapTree::none ? std::nullopt : std::optional(base_ + (index << order.value));
}

} // namespace guest::mm
