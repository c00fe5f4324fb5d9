// SPDX-License-Identifier: MIT
// What the page allocator asks of who owns movable blocks.
#pragma once

#include <cstdint>

#include "shared/address.hpp"

namespace guest::mm {

class BlockMover {
 public:
  BlockMover(const BlockMover&) = delete;
  BlockMover& operator=(const BlockMover&) = delete;

  // Copies the block with this cookie from `from` to `to` and uses `to` from now on: `from` goes
  // back to the allocator. Or returns false, and `to` goes back: what the owner must do when the
  // block is not at `from` any more (it may have been freed a moment ago), and may do whenever it
  // is busy. From its look at its own records to its return the owner frees neither.
  // Called on an idle vCPU, for one block at a time. Must not call the allocator, nor wait for
  // who may be in it.
  virtual bool move(std::uint32_t cookie, abi::Pfn from, abi::Pfn to, abi::Order order) = 0;

 protected:
  BlockMover() = default;
  ~BlockMover() = default;
};

} // namespace guest::mm
