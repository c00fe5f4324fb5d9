// SPDX-License-Identifier: MIT
// Blocks of the soak's guest that the allocator may move while their owner holds them, passes them
// on or frees them.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "guest/mm/buddy/block_mover.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace soak {

class MovableBlocks final : public guest::mm::BlockMover {
 public:
  static constexpr std::uint32_t none = ~std::uint32_t{0}; // no cookie

  MovableBlocks(const vmm::GuestMemory& memory, std::uint32_t most);

  // Enters an allocated block that make_movable() follows for. Its cookie; none when full.
  [[nodiscard]] std::uint32_t add(abi::Pfn pfn, abi::Order order);
  // Where the block is now; it is not moved any more, and may be freed.
  [[nodiscard]] abi::Pfn remove(std::uint32_t cookie);

  bool move(std::uint32_t cookie, abi::Pfn from, abi::Pfn to, abi::Order order) override;
  [[nodiscard]] std::uint64_t moves() const { return moves_; }

 private:
  struct Slot {
    std::mutex mutex; // guards the rest, and the block's contents against freeing
    bool used = false;
    abi::Pfn pfn;
    abi::Order order;
  };

  const vmm::GuestMemory& memory_;
  std::vector<Slot> slots_;
  std::atomic<std::uint64_t> moves_{0};
  std::mutex mutex_; // guards free_
  std::vector<std::uint32_t> free_;
};

} // namespace soak
