// SPDX-License-Identifier: MIT
// Allocator of small objects over whole page blocks.
//
// Objects up to 2048 bytes come from slabs of one size class each: 16 KiB blocks with a header at
// the start, found from an object by masking its address. Larger objects are page blocks of their
// own; the page source knows their size, so nothing is recorded about them. An address is a page
// block of its own exactly if the source says that an allocated block starts there: a slab's
// header lies where its block starts, so no object of a slab does.
//
// Free slots of a slab are linked through the slots, which are owned pages, not free ones. A slab
// whose last object goes returns to the source at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "guest/mm/backoff.hpp"
#include "guest/mm/fair_lock.hpp"
#include "guest/mm/page_platform.hpp"
#include "shared/address.hpp"

namespace guest::mm {

// Where a SmallHeap gets its memory. Must be thread-safe if the heap is shared.
class PageSource {
 public:
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;

  // A block aligned to its size, or nullptr.
  [[nodiscard]] virtual void* allocate_pages(abi::Order order) = 0;
  // `block` came from allocate_pages with this order.
  virtual void free_pages(void* block, abi::Order order) = 0;
  // The order of the allocated block that starts at this page-aligned address, if one does.
  [[nodiscard]] virtual std::optional<abi::Order> block_order(const void* address) const = 0;

 protected:
  PageSource() = default;
  ~PageSource() = default;
};

enum class ReleaseResult : std::uint8_t {
  ok,
  not_an_object, // nothing that this heap could have handed out; nothing was done
};

class SmallHeap {
 public:
  static constexpr std::size_t min_alignment = 16;
  static constexpr std::size_t largest_small_bytes = 2048;
  static constexpr std::array<std::uint16_t, 14> class_bytes{16,  32,  48,  64,  96,   128,  192,
                                                             256, 384, 512, 768, 1024, 1536, 2048};
  static constexpr abi::Order slab_order{2};

  // vCPUs wait for each other the platform's way.
  SmallHeap(PageSource& pages, PagePlatform& platform) : pages_(pages), platform_(platform) {}
  SmallHeap(const SmallHeap&) = delete;
  SmallHeap& operator=(const SmallHeap&) = delete;

  // Uninitialised memory, or nullptr when the source has none or the request exceeds the largest
  // block. alignment is a power of two; at least min_alignment is given. Zero bytes are one.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = min_alignment);
  // nullptr is ignored.
  ReleaseResult release(void* object);
  // Bytes that may be used at `object`, which this heap handed out and nobody has released.
  [[nodiscard]] std::size_t usable_bytes(const void* object) const;

  // Slabs held now; for tests and statistics.
  [[nodiscard]] std::uint64_t slabs();

 private:
  struct FreeSlot;
  struct Slab;

  [[nodiscard]] static std::optional<unsigned> find_class(std::size_t bytes, std::size_t alignment);
  [[nodiscard]] std::optional<abi::Order> large_block_order(const void* object) const;
  [[nodiscard]] static Slab* slab_of(void* object);
  [[nodiscard]] static const Slab* slab_of(const void* object);
  [[nodiscard]] void* allocate_small(unsigned size_class);
  [[nodiscard]] void* take_slot_locked(Slab& slab);
  void link_locked(Slab& slab);
  void unlink_locked(Slab& slab);

  PageSource& pages_;
  PagePlatform& platform_;
  FairLock lock_;
  // Slabs with a slot to give, per class.
  std::array<Slab*, class_bytes.size()> partial_{};
  std::uint64_t slabs_ = 0;
};

} // namespace guest::mm
