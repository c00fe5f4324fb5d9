// SPDX-License-Identifier: MIT
// The loops that benchmarks time, the same inside a guest and hosted (tools/benchmarks).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "shared/address.hpp"

namespace guest::rounds {

// Pages has Block allocate(abi::Order), which always succeeds, and free(Block, abi::Order), for
// one thread.

// Allocates a block and frees it, again and again.
template <typename Pages> void repeat(Pages& pages, abi::Order order, std::uint64_t pairs) {
  for (std::uint64_t pair = 0; pair < pairs; ++pair) {
    pages.free(pages.allocate(order), order);
  }
}

template <typename Pages, typename Block>
void allocate_all(Pages& pages, abi::Order order, std::span<Block> blocks) {
  for (Block& block : blocks) {
    block = pages.allocate(order);
  }
}

template <typename Pages, typename Block>
void free_all(Pages& pages, abi::Order order, std::span<const Block> blocks) {
  for (const Block block : blocks) {
    pages.free(block, order);
  }
}

// A random order; `random` has below(limit).
template <typename Block, typename Random> void shuffle(std::span<Block> blocks, Random& random) {
  for (std::size_t left = blocks.size(); left > 1; --left) {
    std::swap(blocks[left - 1], blocks[random.below(left)]);
  }
}

// Blocks that fill a round without going beyond `bytes` of memory.
constexpr std::uint64_t blocks_in(std::uint64_t bytes, abi::Order order) {
  const std::uint64_t fitting = bytes / order.bytes();
  constexpr std::uint64_t most = 32768; // a round takes less than a time slice
  return fitting < most ? fitting : most;
}

} // namespace guest::rounds
