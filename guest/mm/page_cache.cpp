// SPDX-License-Identifier: MIT
#include "guest/mm/page_cache.hpp"

#include <algorithm>

namespace guest::mm {

PageCache::Packed PageCache::pack(const Block& block) {
  return block.pfn.value | (Packed{block.untouched_zero} << frame_bits) |
         (Packed{block.reused_frames} << reused_shift);
}

PageCache::Block PageCache::unpack(Packed packed, abi::Order order) {
  return {.pfn = {packed & ((Packed{1} << frame_bits) - 1)},
          .order = order,
          .untouched_zero = ((packed >> frame_bits) & 1U) != 0,
          .reused_frames = static_cast<std::uint16_t>(packed >> reused_shift)};
}

void PageCache::push(FrameTags& tags, const Block& block) {
  tags.put(block.pfn, abi::FrameKind::cached, block.order);
  stack(block.order)[count_[block.order.value]++] = pack(block);
  set_frames(frames() + block.order.frames());
}

PageCache::Block PageCache::pop(FrameTags& tags, abi::Order order) {
  const Block block = unpack(stack(order)[--count_[order.value]], order);
  tags.put(block.pfn, abi::FrameKind::allocated, order);
  set_frames(frames() - order.frames());
  return block;
}

std::uint32_t PageCache::take_oldest(abi::Order order, std::span<Block> out) {
  std::uint32_t& count = count_[order.value];
  const auto taken = static_cast<std::uint32_t>(std::min<std::size_t>(count, out.size()));
  Packed* blocks = stack(order);
  for (std::uint32_t index = 0; index < taken; ++index) {
    out[index] = unpack(blocks[index], order);
  }
  std::copy(blocks + taken, blocks + count, blocks);
  count -= taken;
  set_frames(frames() - taken * order.frames());
  return taken;
}

} // namespace guest::mm
