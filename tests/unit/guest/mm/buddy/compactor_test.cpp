// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/compactor.hpp"

#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/buddy/area_use.hpp"

namespace {

using namespace guest::mm;
using abi::Order;
using abi::Pfn;

constexpr std::uint64_t block_frames = 1U << abi::max_order;
constexpr std::uint64_t area_frames = AreaUse::area_frames;
constexpr Order page{0};

struct Fixture {
  explicit Fixture(std::uint64_t blocks, unsigned report_order = 10)
      : end{block_frames * (1 + blocks)}, metadata(Buddy::metadata_bytes({block_frames}, end)),
        buddy({.first = {block_frames},
               .end = end,
               .plugged_end = end,
               .report_order = {static_cast<std::uint8_t>(report_order)}},
              metadata) {}

  Pfn allocate(Order order = page) {
    const BuddyAllocation got = buddy.allocate(order);
    REQUIRE(got.ok());
    return got.pfn;
  }
  void free(Pfn pfn, Order order = page) { REQUIRE(buddy.free(pfn, order) == FreeResult::ok); }
  // All pages of a number of areas, from the bottom.
  std::vector<Pfn> fill(std::uint64_t areas) {
    std::vector<Pfn> pages;
    for (std::uint64_t count = 0; count < areas * area_frames; ++count) {
      pages.push_back(allocate());
    }
    return pages;
  }

  Pfn end;
  std::vector<std::byte> metadata;
  Buddy buddy;
  Compactor compactor{buddy};
};

// What the counts of an area should be, from the tags of all its blocks and parts.
void check_counts(const Buddy& buddy, Pfn area) {
  std::uint64_t owned = 0;
  std::uint64_t fresh = 0;
  for (Pfn frame = area; frame < area + area_frames;) {
    const abi::FrameTag tag = buddy.tags().get(frame);
    owned += tag.kind() == abi::FrameKind::allocated || tag.kind() == abi::FrameKind::movable
                 ? tag.order().frames()
                 : 0;
    fresh += tag.kind() == abi::FrameKind::fresh ? tag.order().frames() : 0;
    frame = frame + tag.order().frames();
  }
  REQUIRE(buddy.areas().owned_frames(area) == owned);
  REQUIRE(buddy.areas().fresh_frames(area) == fresh);
}

} // namespace

TEST_CASE("area use: counts follow every way a block can go") {
  std::mt19937_64 random(5);
  Fixture fixture(6, 3);
  struct Held {
    BuddyAllocation got;
    Order order;
  };
  std::vector<Held> held;
  std::vector<abi::RangeDescriptor> batch(abi::max_batch_ranges);
  for (unsigned step = 0; step < 4000; ++step) {
    const unsigned dice = random() % 16;
    if (dice < 7) {
      // Below the size of an area, so that counts can be compared area by area.
      const Order order{static_cast<std::uint8_t>(random() % 9)};
      if (const BuddyAllocation got = fixture.buddy.allocate(order); got.ok()) {
        held.push_back({got, order});
        if (random() % 4 == 0) {
          fixture.buddy.make_movable(got.pfn, order, step);
        }
      }
    } else if (dice < 15 && !held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      const Held block = held.back();
      held.pop_back();
      if (block.got.content == Content::zeroed && random() % 2 == 0) {
        fixture.buddy.free_untouched(block.got.pfn, block.order, block.got.was);
      } else {
        fixture.free(block.got.pfn, block.order);
      }
    } else {
      const IsolatedBatch taken = fixture.buddy.isolate(4, 0, batch);
      abi::CompletionEntry answers;
      for (std::uint32_t index = 0; index < taken.descriptors; ++index) {
        answers.set_outcome(index,
                            random() % 2 == 0 ? abi::Outcome::discarded : abi::Outcome::declined);
      }
      fixture.buddy.acknowledge(std::span(batch).first(taken.descriptors), answers);
    }
    // Blocks of more than an area are free ones here: no tag inside tells.
    for (Pfn area{block_frames}; area < fixture.buddy.frontier(); area = area + area_frames) {
      if (fixture.buddy.areas().owned_frames(area) != 0) {
        check_counts(fixture.buddy, area);
      }
    }
  }
}

TEST_CASE("area use: blocks of several areas") {
  Fixture fixture(1);
  const Pfn low{block_frames};
  const Pfn high = low + area_frames;
  const Pfn block = fixture.allocate({10});
  CHECK(fixture.buddy.areas().owned_frames(low) == area_frames);
  CHECK(fixture.buddy.areas().owned_frames(high) == area_frames);
  fixture.free(block, {10});
  CHECK(fixture.buddy.areas().owned_frames(high) == 0);
  CHECK(fixture.buddy.areas().fresh_frames(high) == area_frames);
  CHECK_FALSE(fixture.buddy.areas().has_sparse()); // free is not sparse
}

TEST_CASE("what a few movable pages pin is emptied into lower areas") {
  Fixture fixture(4);
  std::vector<Pfn> pages = fixture.fill(4);
  const Pfn base{block_frames};
  // Room for three pages at the bottom; two areas with two pages each.
  for (const std::uint64_t keep : {2 * area_frames, 3 * area_frames}) {
    for (std::uint64_t index = 0; index < area_frames; ++index) {
      if (index == 7 || index == 300) {
        fixture.buddy.make_movable(pages[keep + index], page, static_cast<std::uint32_t>(index));
      } else {
        fixture.free(pages[keep + index]);
      }
    }
  }
  for (const std::uint64_t index : {10U, 20U, 30U}) {
    fixture.free(pages[index]);
  }
  REQUIRE(fixture.buddy.areas().has_sparse());

  // The highest area goes first, the lowest page of it to the lowest place.
  const auto first = fixture.compactor.plan_locked();
  REQUIRE(first);
  CHECK(first->from == base + 3 * area_frames + 7);
  CHECK(first->cookie == 7);
  CHECK(first->to.pfn == base + 10);
  CHECK(fixture.buddy.tags().get(first->to.pfn).kind() == abi::FrameKind::movable);
  CHECK(fixture.buddy.cookie(first->to.pfn) == 7);
  fixture.compactor.finish_locked(*first, Compactor::Outcome::moved);

  const auto second = fixture.compactor.plan_locked();
  REQUIRE(second);
  CHECK(second->from == base + 3 * area_frames + 300);
  fixture.compactor.finish_locked(*second, Compactor::Outcome::moved);
  CHECK(fixture.buddy.areas().owned_frames(base + 3 * area_frames) == 0);

  // The next one down: one page finds room at the bottom. The other would have to stay in its own
  // area, so it is no plan; nor is anything allocated for it.
  const auto third = fixture.compactor.plan_locked();
  REQUIRE(third);
  CHECK(third->from == base + 2 * area_frames + 7);
  CHECK(third->to.pfn == base + 30);
  fixture.compactor.finish_locked(*third, Compactor::Outcome::moved);
  const std::uint64_t fresh = fixture.buddy.fresh_frames();
  CHECK_FALSE(fixture.compactor.plan_locked());
  CHECK(fixture.buddy.fresh_frames() == fresh);
  // Later there is room.
  fixture.free(pages[40]);
  CHECK(fixture.compactor.plan_locked());
}

TEST_CASE("a refused block is put back whole, and its area left alone until it changes") {
  for (const bool fresh_place : {true, false}) {
    CAPTURE(fresh_place);
    Fixture fixture(3, 0);
    std::vector<Pfn> pages = fixture.fill(2);
    fixture.free(pages[5]);
    if (!fresh_place) { // the place was answered as discarded: it still reads as zero
      std::vector<abi::RangeDescriptor> batch(8);
      REQUIRE(fixture.buddy.isolate(8, 0, batch).descriptors == 1);
      abi::CompletionEntry answers;
      answers.set_outcome(0, abi::Outcome::discarded);
      fixture.buddy.acknowledge(std::span(batch).first(1), answers);
    }
    for (std::uint64_t index = 1; index < area_frames; ++index) {
      fixture.free(pages[area_frames + index]);
    }
    fixture.buddy.make_movable(pages[area_frames], page, 1);
    const std::uint64_t fresh = fixture.buddy.fresh_frames();
    const std::uint64_t answered = fixture.buddy.answered_frames();
    const auto move = fixture.compactor.plan_locked();
    REQUIRE(move);
    CHECK((move->to.content == Content::zeroed) == !fresh_place);
    fixture.compactor.finish_locked(*move, Compactor::Outcome::refused);
    CHECK(fixture.buddy.fresh_frames() == fresh);
    CHECK(fixture.buddy.answered_frames() == answered);
    CHECK_FALSE(fixture.compactor.plan_locked());
    // A change makes it worth another look.
    const Pfn other = fixture.allocate({8});
    fixture.free(other, {8});
    CHECK(fixture.compactor.plan_locked());
  }
}

TEST_CASE("one block that may not be moved keeps an area as it is") {
  for (const bool cached : {false, true}) {
    Fixture fixture(3);
    std::vector<Pfn> pages = fixture.fill(2);
    fixture.free(pages[5]);
    fixture.free(pages[6]);
    for (std::uint64_t index = 2; index < area_frames; ++index) {
      fixture.free(pages[area_frames + index]);
    }
    fixture.buddy.make_movable(pages[area_frames], page, 1);
    if (cached) {
      fixture.buddy.tags().put(pages[area_frames + 1], abi::FrameKind::cached, page);
    }
    CHECK_FALSE(fixture.compactor.plan_locked());
    CHECK_FALSE(fixture.buddy.areas().has_sparse()); // and is not looked at again and again
  }
}

TEST_CASE("a movable block is freed as any other, once") {
  Fixture fixture(1);
  const Pfn block = fixture.allocate({3});
  fixture.buddy.make_movable(block, {3}, 9);
  CHECK(fixture.buddy.free(block, {2}) == FreeResult::wrong_order);
  fixture.free(block, {3});
  CHECK(fixture.buddy.free(block, {3}) == FreeResult::not_allocated);
}
