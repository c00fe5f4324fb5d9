// SPDX-License-Identifier: MIT
#include "guest/mm/page_cache.hpp"

#include <algorithm>

namespace guest::mm {

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
