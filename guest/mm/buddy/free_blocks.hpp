// SPDX-License-Identifier: MIT
// Which blocks are free: for each order a set of blocks with any fresh part and one of blocks that
// are wholly answered. Works over zeroed memory of the caller (guest/mm/buddy/bitmap_tree.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/mm/buddy/bitmap_tree.hpp"
#include "shared/address.hpp"

namespace guest::mm {

// Whether the host knows that all of a free block is free.
enum class Freshness : std::uint8_t { answered, fresh };

class FreeBlocks {
 public:
  // Words of memory for `frames` frames, a multiple of the largest block's.
  [[nodiscard]] static std::size_t words_needed(std::uint64_t frames);

  FreeBlocks() = default;
  // `words` holds words_needed() zero words and outlives this; `base` is aligned to the largest
  // block.
  FreeBlocks(std::span<std::uint64_t> words, abi::Pfn base, std::uint64_t frames);

  // The block is in no set; or in that one.
  void add(abi::Pfn block, abi::Order order, Freshness which) {
    add_at(index_of(block, order), order, which);
  }
  void remove(abi::Pfn block, abi::Order order, Freshness which) {
    remove_from(set_of(order, which), BitmapTree::place_of(index_of(block, order)), order, which);
  }

  // The same by a block's index: how many blocks of its order lie below it. Its buddy's is
  // index ^ 1, that of both together index / 2.
  [[nodiscard]] std::uint64_t index_of(abi::Pfn block, abi::Order order) const {
    return (block - base_) >> order.value;
  }
  void add_at(std::uint64_t index, abi::Order order, Freshness which) {
    Set& set = set_of(order, which);
    set.blocks.set(index);
    ++set.count;
    orders_[static_cast<unsigned>(which)] |= 1U << order.value;
  }
  // If the block is free, removes it, says true, and makes `which` fresh if the block is.
  [[nodiscard]] bool remove_if_free(std::uint64_t index, abi::Order order, Freshness& which) {
    std::array<Set, 2>& sets = sets_[order.value];
    const BitmapTree::Place place = BitmapTree::place_of(index);
    const bool fresh = sets[static_cast<unsigned>(Freshness::fresh)].blocks.test(place);
    const bool answered = sets[static_cast<unsigned>(Freshness::answered)].blocks.test(place);
    // One branch for both: whether a buddy is free is as hard to predict as it gets.
    if (!(fresh | answered)) {
      return false;
    }
    const Freshness found = fresh ? Freshness::fresh : Freshness::answered;
    remove_from(sets[static_cast<unsigned>(found)], place, order, found);
    which = std::max(which, found);
    return true;
  }

  // The set that the block is in; empty when it is in none.
  [[nodiscard]] std::optional<Freshness> find(abi::Pfn block, abi::Order order) const {
    const BitmapTree::Place place = BitmapTree::place_of(index_of(block, order));
    for (const Freshness which : {Freshness::fresh, Freshness::answered}) {
      if (set_of(order, which).blocks.test(place)) {
        return which;
      }
    }
    return std::nullopt;
  }

  // Bit k: there are free blocks of order k, which is at least `smallest`.
  [[nodiscard]] std::uint32_t orders_with(Freshness which, abi::Order smallest) const {
    return orders_[static_cast<unsigned>(which)] & (~std::uint32_t{0} << smallest.value);
  }
  // The set is not empty.
  [[nodiscard]] abi::Pfn lowest(abi::Order order, Freshness which) const {
    return base_ + (set_of(order, which).blocks.find_first() << order.value);
  }
  [[nodiscard]] std::optional<abi::Pfn> highest(abi::Order order, Freshness which) const;

  // Free blocks of this order, fresh or not.
  [[nodiscard]] std::uint64_t count(abi::Order order) const {
    return sets_[order.value][0].count + sets_[order.value][1].count;
  }
  // Calls visit(Pfn) for each block of a set, in address order.
  template <typename Visit> void for_each(abi::Order order, Freshness which, Visit visit) const {
    const BitmapTree& blocks = set_of(order, which).blocks;
    for (std::uint64_t index = blocks.find_first(); index != BitmapTree::none;
         index = blocks.find_next(index + 1)) {
      visit(base_ + (index << order.value));
    }
  }

 private:
  struct Set {
    BitmapTree blocks;
    std::uint64_t count = 0;
  };

  [[nodiscard]] Set& set_of(abi::Order order, Freshness which) {
    return sets_[order.value][static_cast<unsigned>(which)];
  }
  [[nodiscard]] const Set& set_of(abi::Order order, Freshness which) const {
    return sets_[order.value][static_cast<unsigned>(which)];
  }
  void remove_from(Set& set, BitmapTree::Place place, abi::Order order, Freshness which) {
    --set.count;
    if (set.blocks.clear(place)) [[unlikely]] {
      orders_[static_cast<unsigned>(which)] &= ~(1U << order.value);
    }
  }

  abi::Pfn base_;
  std::array<std::array<Set, 2>, abi::order_count> sets_; // [order][Freshness]
  std::array<std::uint32_t, 2> orders_{}; // bit k: the set of order k is not empty. [Freshness]
};

} // namespace guest::mm
