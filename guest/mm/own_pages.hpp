// SPDX-License-Identifier: MIT
// Page blocks out of the memory that a guest has for itself, outside RAM, as long as there is any,
// then out of another source. What the kernel keeps for itself is then not in the way of a program
// that wants its memory in long runs and at certain places. Blocks that come back are given again
// for the same order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/mm/fair_lock.hpp"
#include "guest/mm/page_platform.hpp"
#include "guest/mm/small_heap.hpp"
#include "shared/address.hpp"

namespace guest::mm {

class OwnPages final : public PageSource {
 public:
  // `memory` is zero and page aligned; empty: everything comes from `others`. All outlive this.
  OwnPages(std::span<std::byte> memory, PageSource& others, PagePlatform& platform);

  [[nodiscard]] void* allocate_pages(abi::Order order) override;
  void free_pages(void* block, abi::Order order) override;
  [[nodiscard]] std::optional<abi::Order> block_order(const void* address) const override;

 private:
  struct FreeBlock {
    FreeBlock* next = nullptr;
  };

  [[nodiscard]] bool is_own(const void* address) const;
  [[nodiscard]] std::uint8_t& tag_of(const void* block) const;
  [[nodiscard]] void* take_locked(abi::Order order);

  PageSource& others_;
  PagePlatform& platform_;
  FairLock lock_;
  std::byte* start_ = nullptr; // aligned to the largest block
  std::byte* next_ = nullptr;  // from here on nothing was given
  std::byte* end_ = nullptr;
  // A byte for each page from start_ on: 1 + the order of the allocated block that begins there.
  std::uint8_t* tags_ = nullptr;
  std::array<FreeBlock*, abi::order_count> free_{};
};

} // namespace guest::mm
