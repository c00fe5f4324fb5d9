// SPDX-License-Identifier: MIT
#include "guest/mm/own_pages.hpp"

#include <algorithm>
#include <new>

namespace guest::mm {

namespace {

std::uint64_t number_of(const void* address) {
  // Justified: alignment is a matter of numbers.
  return reinterpret_cast<std::uint64_t>(address);
}

std::byte* aligned(std::byte* address, std::uint64_t alignment) {
  return address + (abi::align_up(number_of(address), alignment) - number_of(address));
}

} // namespace

// The tags lie before the blocks.
OwnPages::OwnPages(std::span<std::byte> memory, PageSource& others, PagePlatform& platform)
    : others_(others), platform_(platform) {
  constexpr abi::Order largest{abi::max_order};
  const std::uint64_t tag_bytes = memory.size() / abi::page_bytes;
  if (memory.size() < tag_bytes + 2 * largest.bytes()) {
    return;
  }
  tags_ = reinterpret_cast<std::uint8_t*>(memory.data());
  start_ = next_ = aligned(memory.data() + tag_bytes, largest.bytes());
  end_ = memory.data() + memory.size();
}

bool OwnPages::is_own(const void* address) const {
  return number_of(address) >= number_of(start_) && number_of(address) < number_of(end_);
}

std::uint8_t& OwnPages::tag_of(const void* block) const {
  return tags_[(number_of(block) - number_of(start_)) / abi::page_bytes];
}

void* OwnPages::take_locked(abi::Order order) {
  FreeBlock*& list = free_[order.value];
  void* block = list;
  if (list != nullptr) {
    list = list->next;
  } else {
    std::byte* const fresh = next_ == nullptr ? nullptr : aligned(next_, order.bytes());
    if (fresh == nullptr || number_of(fresh) + order.bytes() > number_of(end_)) {
      return nullptr;
    }
    next_ = fresh + order.bytes();
    block = fresh;
  }
  tag_of(block) = static_cast<std::uint8_t>(order.value + 1);
  return block;
}

void* OwnPages::allocate_pages(abi::Order order) {
  void* block = nullptr;
  {
    const FairGuard guard(lock_, Backoff(platform_));
    block = take_locked(order);
  }
  return block != nullptr ? block : others_.allocate_pages(order);
}

void OwnPages::free_pages(void* block, abi::Order order) {
  if (!is_own(block)) {
    others_.free_pages(block, order);
    return;
  }
  const FairGuard guard(lock_, Backoff(platform_));
  tag_of(block) = 0;
  free_[order.value] = new (block) FreeBlock{free_[order.value]};
}

std::optional<abi::Order> OwnPages::block_order(const void* address) const {
  if (!is_own(address)) {
    return others_.block_order(address);
  }
  const std::uint8_t tag = tag_of(address);
  return tag == 0 ? std::nullopt : std::optional(abi::Order{static_cast<std::uint8_t>(tag - 1)});
}

} // namespace guest::mm
