// SPDX-License-Identifier: MIT
#include "guest/mm/small_heap.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/still_platform.hpp"

namespace {

using namespace guest::mm;

class FakePages final : public PageSource {
 public:
  ~FakePages() {
    for (const auto& [block, order] : blocks) {
      std::free(block);
    }
  }
  void* allocate_pages(abi::Order order) override {
    if (blocks.size() == limit) {
      return nullptr;
    }
    void* block = std::aligned_alloc(order.bytes(), order.bytes());
    std::memset(block, 0xa5, order.bytes());
    blocks[block] = order;
    return block;
  }
  void free_pages(void* block, abi::Order order) override {
    REQUIRE(blocks.contains(block));
    REQUIRE(blocks[block] == order);
    blocks.erase(block);
    std::free(block);
  }
  std::optional<abi::Order> block_order(const void* address) const override {
    for (const auto& [block, order] : blocks) {
      if (block == address) {
        return order;
      }
    }
    return std::nullopt;
  }

  std::map<void*, abi::Order> blocks;
  std::size_t limit = ~std::size_t{0};
};

std::uintptr_t address_of(const void* object) {
  return reinterpret_cast<std::uintptr_t>(object);
}

} // namespace

TEST_CASE("small heap: sizes, alignment and the way to whole blocks") {
  FakePages pages;
  test_support::StillPlatform platform;
  SmallHeap heap(pages, platform);
  for (const std::size_t bytes :
       {0U, 1U, 16U, 17U, 64U, 65U, 2047U, 2048U, 2049U, 4096U, 4097U, 100'000U, 4U << 20}) {
    for (std::size_t alignment = 1; alignment <= (std::size_t{4} << 20); alignment *= 2) {
      CAPTURE(bytes);
      CAPTURE(alignment);
      void* object = heap.allocate(bytes, alignment);
      REQUIRE(object != nullptr);
      CHECK(address_of(object) % alignment == 0);
      CHECK(address_of(object) % SmallHeap::min_alignment == 0);
      CHECK(heap.usable_bytes(object) >= bytes);
      std::memset(object, 0x5a, bytes);
      CHECK(heap.release(object) == ReleaseResult::ok);
      CHECK(pages.blocks.empty());
    }
  }
  CHECK(heap.allocate((4U << 20) + 1) == nullptr);
  CHECK(heap.allocate(1, 8U << 20) == nullptr);
  CHECK(heap.allocate(~std::size_t{0}) == nullptr);
  CHECK(heap.release(nullptr) == ReleaseResult::ok);
}

TEST_CASE("small heap: a slab holds as many as fit and goes back when empty") {
  for (const std::uint16_t bytes : SmallHeap::class_bytes) {
    CAPTURE(bytes);
    FakePages pages;
    test_support::StillPlatform platform;
    SmallHeap heap(pages, platform);
    std::vector<void*> objects;
    do {
      objects.push_back(heap.allocate(bytes));
    } while (pages.blocks.size() < 3);
    const std::size_t per_slab = (objects.size() - 1) / 2;
    CHECK(per_slab * bytes + 64 <= SmallHeap::slab_order.bytes());
    CHECK((per_slab + 2) * bytes + 64 > SmallHeap::slab_order.bytes());
    CHECK(heap.slabs() == 3);
    // A hole in a full slab is used before a new slab is made.
    CHECK(heap.release(objects[per_slab / 2]) == ReleaseResult::ok);
    objects[per_slab / 2] = heap.allocate(bytes);
    CHECK(pages.blocks.size() == 3);
    for (void* object : objects) {
      CHECK(heap.release(object) == ReleaseResult::ok);
    }
    CHECK(pages.blocks.empty());
    CHECK(heap.slabs() == 0);
  }
}

TEST_CASE("small heap: nothing is done for addresses it never handed out") {
  FakePages pages;
  test_support::StillPlatform platform;
  SmallHeap heap(pages, platform);
  auto* object = static_cast<std::byte*>(heap.allocate(64));
  CHECK(heap.release(object + 16) == ReleaseResult::not_an_object);
  CHECK(heap.release(object + 64) == ReleaseResult::not_an_object); // not handed out yet
  CHECK(heap.release(object - 32) == ReleaseResult::not_an_object); // in the header
  alignas(64) static std::byte foreign[64];
  CHECK(heap.release(foreign) == ReleaseResult::not_an_object);
  CHECK(heap.release(object) == ReleaseResult::ok);
  CHECK(heap.release(object) == ReleaseResult::not_an_object); // its slab is gone
}

TEST_CASE("small heap: no pages, no objects, and no harm") {
  FakePages pages;
  pages.limit = 1;
  test_support::StillPlatform platform;
  SmallHeap heap(pages, platform);
  std::vector<void*> objects;
  while (void* object = heap.allocate(2048)) {
    objects.push_back(object);
  }
  CHECK(objects.size() == 7);
  CHECK(heap.allocate(16) == nullptr);
  CHECK(heap.allocate(5000) == nullptr);
  CHECK(heap.release(objects.back()) == ReleaseResult::ok);
  CHECK(heap.allocate(2048) == objects.back());
}

TEST_CASE("small heap agrees with a model: no overlap, contents stay") {
  FakePages pages;
  test_support::StillPlatform platform;
  SmallHeap heap(pages, platform);
  struct Object {
    std::size_t bytes;
    std::uint8_t fill;
  };
  std::map<std::byte*, Object> model;
  std::mt19937_64 random(3);
  const auto release = [&](std::map<std::byte*, Object>::iterator victim) {
    const auto [start, object] = *victim;
    for (std::size_t offset = 0; offset < object.bytes; ++offset) {
      REQUIRE_UNARY(start[offset] == std::byte{object.fill});
      if (object.bytes > 4096) {
        offset += 64;
      }
    }
    model.erase(victim);
    REQUIRE(heap.release(start) == ReleaseResult::ok);
  };
  for (unsigned step = 0; step < 20'000; ++step) {
    const bool growing = (step / 2000) % 2 == 0;
    if (random() % 8 < (growing ? 5U : 3U)) {
      const std::size_t bytes = random() % 50 == 0 ? random() % 70'000 : 1 + random() % 700;
      const std::size_t alignment = std::size_t{1} << (random() % 10);
      auto* start = static_cast<std::byte*>(heap.allocate(bytes, alignment));
      REQUIRE(start != nullptr);
      REQUIRE(address_of(start) % alignment == 0);
      const auto after = model.lower_bound(start);
      REQUIRE((after == model.end() || start + bytes <= after->first));
      if (after != model.begin()) {
        const auto before = std::prev(after);
        REQUIRE(before->first + before->second.bytes <= start);
      }
      const auto fill = static_cast<std::uint8_t>(random());
      std::memset(start, fill, bytes);
      model[start] = {bytes, fill};
    } else if (!model.empty()) {
      auto victim = model.begin();
      std::advance(victim, static_cast<std::ptrdiff_t>(random() % model.size() % 64));
      release(victim);
    }
  }
  while (!model.empty()) {
    release(model.begin());
  }
  CHECK(pages.blocks.empty());
}
