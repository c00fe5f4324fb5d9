// SPDX-License-Identifier: MIT
#include "guest/mm/page_cache.hpp"

#include <array>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace guest::mm;

struct Fixture {
  std::vector<abi::FrameTag> storage = std::vector<abi::FrameTag>(1024);
  FrameTags tags{storage.data(), {0}, {0}, {1024}};
  PageCache cache;

  PageCache::Block owned(std::uint64_t pfn, unsigned order) {
    const abi::Order block_order{static_cast<std::uint8_t>(order)};
    tags.put({pfn}, abi::FrameKind::allocated, block_order);
    return {.pfn = {pfn}, .order = block_order};
  }
};

} // namespace

TEST_CASE("page cache: last in, first out, up to its capacity, per order") {
  Fixture fixture;
  std::uint64_t frames = 0;
  for (unsigned order = 0; order < PageCache::cached_orders; ++order) {
    const abi::Order block_order{static_cast<std::uint8_t>(order)};
    CHECK(fixture.cache.empty(block_order));
    for (std::uint32_t count = 0; count < PageCache::capacity[order]; ++count) {
      CHECK_FALSE(fixture.cache.full(block_order));
      fixture.cache.push(fixture.tags, fixture.owned(order * 256 + count * 8, order));
      frames += block_order.frames();
    }
    CHECK(fixture.cache.full(block_order));
  }
  CHECK(fixture.cache.frames() == frames);
  for (unsigned order = 0; order < PageCache::cached_orders; ++order) {
    const abi::Order block_order{static_cast<std::uint8_t>(order)};
    for (std::uint32_t count = PageCache::capacity[order]; count-- > 0;) {
      const PageCache::Block block = fixture.cache.pop(fixture.tags, block_order);
      CHECK(block.pfn.value == order * 256 + count * 8);
      CHECK(block.order == block_order);
      CHECK(fixture.tags.get(block.pfn).kind() == abi::FrameKind::allocated);
    }
    CHECK(fixture.cache.empty(block_order));
  }
  CHECK(fixture.cache.frames() == 0);
}

TEST_CASE("page cache: a cached block is recognised as not owned") {
  Fixture fixture;
  const PageCache::Block block = fixture.owned(8, 2);
  CHECK(fixture.tags.check_owned(block.pfn, block.order) == FreeResult::ok);
  fixture.cache.push(fixture.tags, block);
  CHECK(fixture.tags.check_owned(block.pfn, block.order) == FreeResult::not_allocated);
}

TEST_CASE("page cache: what is known of a block survives, audit bits too") {
  Fixture fixture;
  const std::uint64_t highest = (std::uint64_t{1} << 40) - 8;
  fixture.tags = FrameTags(fixture.storage.data(), {highest}, {highest}, {highest + 8});
  fixture.tags.set_audit({highest}, {3});
  const auto first_part = abi::FrameTag::make(abi::FrameKind::reported, {2});
  fixture.cache.push(fixture.tags, {.pfn = {highest},
                                    .order = {3},
                                    .untouched_zero = true,
                                    .was = {.reused_frames = 5, .first_part = first_part}});
  const PageCache::Block block = fixture.cache.pop(fixture.tags, {3});
  CHECK(block.pfn.value == highest);
  CHECK(block.untouched_zero);
  CHECK(block.was.reused_frames == 5);
  CHECK(block.was.first_part.bits == first_part.bits);
  CHECK(fixture.tags.count_audit_clear({highest}, {3}) == 0);
}

TEST_CASE("page cache: the oldest blocks leave first and stay in state cached") {
  Fixture fixture;
  for (std::uint64_t pfn = 0; pfn < 10; ++pfn) {
    fixture.cache.push(fixture.tags, fixture.owned(pfn, 0));
  }
  std::array<PageCache::Block, 4> taken;
  REQUIRE(fixture.cache.take_oldest({0}, taken) == 4);
  for (std::uint64_t index = 0; index < taken.size(); ++index) {
    CHECK(taken[index].pfn.value == index);
    CHECK(fixture.tags.get({index}).kind() == abi::FrameKind::cached);
  }
  CHECK(fixture.cache.frames() == 6);
  CHECK(fixture.cache.pop(fixture.tags, {0}).pfn.value == 9);
  std::array<PageCache::Block, 16> rest;
  REQUIRE(fixture.cache.take_oldest({0}, rest) == 5);
  CHECK(rest[0].pfn.value == 4);
  CHECK(rest[4].pfn.value == 8);
  CHECK(fixture.cache.take_oldest({0}, rest) == 0);
}
