// SPDX-License-Identifier: MIT
#include "guest/mm/small_heap.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace guest::mm {

struct SmallHeap::FreeSlot {
  FreeSlot* next;
};

struct SmallHeap::Slab {
  std::uint64_t magic;
  std::uint32_t size_class;
  std::uint32_t used;        // slots handed out
  std::uint32_t next_unused; // offset of the first slot that was never handed out
  std::uint32_t linked;      // 1 while in the list of partial slabs
  FreeSlot* free_slots;
  Slab* previous;
  Slab* next;
};

namespace {

constexpr std::uint64_t slab_magic = 0x42414c5342424245; // "EBBBSLAB"
constexpr std::size_t slab_bytes = SmallHeap::slab_order.bytes();
constexpr std::size_t header_bytes = 64;

// Slots are aligned as well as their size allows: to the largest power of two that divides it.
constexpr std::size_t slot_alignment(std::size_t bytes) {
  return std::size_t{1} << std::countr_zero(bytes);
}
constexpr std::uint32_t first_slot(std::size_t bytes) {
  return static_cast<std::uint32_t>(abi::align_up(header_bytes, slot_alignment(bytes)));
}

std::uintptr_t address_of(const void* object) {
  // An address as a number, for masking and offsets.
  return reinterpret_cast<std::uintptr_t>(object);
}

} // namespace

std::optional<unsigned> SmallHeap::find_class(std::size_t bytes, std::size_t alignment) {
  for (unsigned index = 0; index < class_bytes.size(); ++index) {
    if (class_bytes[index] >= bytes && slot_alignment(class_bytes[index]) >= alignment) {
      return index;
    }
  }
  return std::nullopt;
}

void* SmallHeap::allocate(std::size_t bytes, std::size_t alignment) {
  alignment = std::max(alignment, min_alignment);
  bytes = std::max(bytes, std::size_t{1});
  if (const auto size_class = find_class(bytes, alignment)) {
    return allocate_small(*size_class);
  }
  const std::size_t block_bytes = std::max(bytes, alignment); // blocks are aligned to their size
  if (block_bytes > abi::Order{abi::max_order}.bytes()) {
    return nullptr;
  }
  const std::uint64_t pages = (block_bytes + abi::page_bytes - 1) >> abi::page_shift;
  return pages_.allocate_pages({static_cast<std::uint8_t>(std::bit_width(pages - 1))});
}

void* SmallHeap::allocate_small(unsigned size_class) {
  {
    const FairGuard guard(lock_, Backoff(platform_));
    if (Slab* slab = partial_[size_class]) {
      return take_slot_locked(*slab);
    }
  }
  // Without the lock: the page source may take its time.
  void* block = pages_.allocate_pages(slab_order);
  if (block == nullptr) {
    return nullptr;
  }
  auto* slab = new (block) Slab{.magic = slab_magic,
                                .size_class = size_class,
                                .used = 0,
                                .next_unused = first_slot(class_bytes[size_class]),
                                .linked = 0,
                                .free_slots = nullptr,
                                .previous = nullptr,
                                .next = nullptr};
  static_assert(sizeof(Slab) <= header_bytes);
  const FairGuard guard(lock_, Backoff(platform_));
  ++slabs_;
  link_locked(*slab);
  return take_slot_locked(*slab);
}

// The slab has a slot to give, and is linked; it is unlinked when it gives its last.
void* SmallHeap::take_slot_locked(Slab& slab) {
  const std::uint32_t bytes = class_bytes[slab.size_class];
  void* slot = nullptr;
  if (slab.free_slots != nullptr) {
    slot = slab.free_slots;
    slab.free_slots = slab.free_slots->next;
  } else {
    slot = reinterpret_cast<std::byte*>(&slab) + slab.next_unused; // within the slab's own block
    slab.next_unused += bytes;
  }
  ++slab.used;
  if (slab.free_slots == nullptr && slab.next_unused + bytes > slab_bytes) {
    unlink_locked(slab);
  }
  return slot;
}

std::optional<abi::Order> SmallHeap::large_block_order(const void* object) const {
  return address_of(object) % abi::page_bytes == 0 ? pages_.block_order(object) : std::nullopt;
}

SmallHeap::Slab* SmallHeap::slab_of(void* object) {
  // Slabs start at multiples of their size, so the header is this far below any of its slots.
  auto* bytes = static_cast<std::byte*>(object);
  return reinterpret_cast<Slab*>(bytes - address_of(object) % slab_bytes);
}

const SmallHeap::Slab* SmallHeap::slab_of(const void* object) {
  const auto* bytes = static_cast<const std::byte*>(object);
  return reinterpret_cast<const Slab*>(bytes - address_of(object) % slab_bytes);
}

ReleaseResult SmallHeap::release(void* object) {
  if (object == nullptr) {
    return ReleaseResult::ok;
  }
  if (const auto order = large_block_order(object)) {
    pages_.free_pages(object, *order);
    return ReleaseResult::ok;
  }
  Slab* slab = slab_of(object);
  if (pages_.block_order(slab) != slab_order) {
    return ReleaseResult::not_an_object; // no allocated memory, so not to be looked at
  }
  {
    const FairGuard guard(lock_, Backoff(platform_));
    if (slab->magic != slab_magic || slab->used == 0) {
      return ReleaseResult::not_an_object;
    }
    const std::size_t bytes = class_bytes[slab->size_class];
    const std::size_t offset = address_of(object) - address_of(slab);
    if (offset < first_slot(bytes) || offset >= slab->next_unused ||
        (offset - first_slot(bytes)) % bytes != 0) {
      return ReleaseResult::not_an_object;
    }
    slab->free_slots = new (object) FreeSlot{.next = slab->free_slots};
    --slab->used;
    if (slab->linked == 0) {
      link_locked(*slab);
    }
    if (slab->used != 0) {
      return ReleaseResult::ok;
    }
    unlink_locked(*slab);
    slab->magic = 0;
    --slabs_;
  }
  pages_.free_pages(slab, slab_order);
  return ReleaseResult::ok;
}

std::size_t SmallHeap::usable_bytes(const void* object) const {
  if (const auto order = large_block_order(object)) {
    return order->bytes();
  }
  return class_bytes[slab_of(object)->size_class];
}

std::uint64_t SmallHeap::slabs() {
  const FairGuard guard(lock_, Backoff(platform_));
  return slabs_;
}

void SmallHeap::link_locked(Slab& slab) {
  Slab*& head = partial_[slab.size_class];
  slab.previous = nullptr;
  slab.next = head;
  if (head != nullptr) {
    head->previous = &slab;
  }
  head = &slab;
  slab.linked = 1;
}

void SmallHeap::unlink_locked(Slab& slab) {
  if (slab.previous != nullptr) {
    slab.previous->next = slab.next;
  } else {
    partial_[slab.size_class] = slab.next;
  }
  if (slab.next != nullptr) {
    slab.next->previous = slab.previous;
  }
  slab.linked = 0;
}

} // namespace guest::mm
