// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/buddy/buddy.hpp"

namespace {

using namespace guest::mm;
using abi::Order;
using abi::Pfn;

constexpr std::uint64_t block_frames = 1U << abi::max_order;

class Fixture {
 public:
  explicit Fixture(std::uint64_t blocks, std::uint64_t plugged_blocks = ~std::uint64_t{0} >> 20,
                   FrameHole hole = {})
      : metadata_(Buddy::metadata_bytes({block_frames}, {block_frames * (1 + blocks)})),
        buddy({.first = {block_frames},
               .end = {block_frames * (1 + blocks)},
               .plugged_end = {block_frames * (1 + plugged_blocks)},
               .report_order = {4},
               .hole = hole},
              metadata_) {}

 private:
  std::vector<std::byte> metadata_;

 public:
  Buddy buddy;
};

Pfn block(std::uint64_t index) {
  return {block_frames * (1 + index)};
}

std::uint64_t free_frames(const Buddy& buddy) {
  std::uint64_t frames = 0;
  buddy.for_each_free_block([&](Pfn, Order order, bool) { frames += order.frames(); });
  return frames;
}

} // namespace

TEST_CASE("a block is allocated at the place that is asked for, and only there") {
  Fixture fixture(4);
  const Pfn wanted = block(2) + 768;
  const BuddyAllocation got = fixture.buddy.allocate_at(wanted, {6});
  REQUIRE(got.ok());
  CHECK(got.pfn == wanted);
  CHECK(got.content == Content::zeroed);
  CHECK(fixture.buddy.frontier() >= wanted + 64);
  CHECK_FALSE(fixture.buddy.allocate_at(wanted, {6}).ok());
  CHECK_FALSE(fixture.buddy.allocate_at(wanted + 63, {0}).ok());
  CHECK_FALSE(fixture.buddy.allocate_at(block(2), {10}).ok());
  CHECK(fixture.buddy.allocate_at(wanted + 64, {0}).ok());
  CHECK(fixture.buddy.allocate_at({wanted.value - 1}, {0}).ok());
  CHECK(fixture.buddy.free(wanted, {6}) == FreeResult::ok);
}

TEST_CASE("a place that cannot be had is refused") {
  Fixture fixture(4);
  CHECK_FALSE(fixture.buddy.allocate_at(block(0) + 1, {1}).ok());        // not aligned
  CHECK_FALSE(fixture.buddy.allocate_at({block_frames - 1}, {0}).ok());  // below
  CHECK_FALSE(fixture.buddy.allocate_at(block(4), {0}).ok());            // above
  CHECK_FALSE(fixture.buddy.allocate_at({~std::uint64_t{0}}, {0}).ok()); // far above
  CHECK_FALSE(fixture.buddy.allocate_at(block(0), {11}).ok());           // too large
  CHECK(fixture.buddy.frontier() == block(0));                           // nothing was done
}

TEST_CASE("a place that is not plugged yet asks for plugging") {
  Fixture fixture(4, 2);
  CHECK(fixture.buddy.allocate_at(block(3), {0}).status == AllocateStatus::needs_plug);
  fixture.buddy.set_plugged_end(block(4));
  CHECK(fixture.buddy.allocate_at(block(3), {0}).ok());
}

TEST_CASE("nothing is allocated in the hole, and no run goes across it") {
  Fixture fixture(6, 6, {block(2), block(3)});
  CHECK_FALSE(fixture.buddy.allocate_at(block(2), {3}).ok());
  CHECK(fixture.buddy.find_run(2 * block_frames) == block(0));
  REQUIRE(fixture.buddy.allocate_at(block(1), {0}).ok());
  CHECK(fixture.buddy.find_run(2 * block_frames) == block(3));
  CHECK_FALSE(fixture.buddy.find_run(4 * block_frames).has_value());
}

TEST_CASE("a run is found between what is in use, at the lowest place") {
  Fixture fixture(8);
  REQUIRE(fixture.buddy.allocate_at(block(1) + 5, {0}).ok());
  REQUIRE(fixture.buddy.allocate_at(block(4), {10}).ok());
  CHECK(fixture.buddy.find_run(1) == block(0));
  CHECK(fixture.buddy.find_run(block_frames + 1) == block(2));
  CHECK(fixture.buddy.find_run(2 * block_frames) == block(2));
  CHECK(fixture.buddy.find_run(2 * block_frames + 1) == block(5));
  CHECK_FALSE(fixture.buddy.find_run(3 * block_frames + 1).has_value());
}

TEST_CASE("an owned block splits into two that are freed one by one") {
  Fixture fixture(1);
  REQUIRE(fixture.buddy.allocate_at(block(0), {10}).ok());
  fixture.buddy.split_owned(block(0), {10});
  CHECK(fixture.buddy.free(block(0), {10}) == FreeResult::wrong_order);
  CHECK(fixture.buddy.free(block(0) + 512, {9}) == FreeResult::ok);
  CHECK(fixture.buddy.fresh_frames() == 512);
  CHECK(fixture.buddy.free(block(0), {9}) == FreeResult::ok);
  CHECK(fixture.buddy.free_blocks({10}) == 1);
}

TEST_CASE("random places: what is free can be had, what is not cannot, and all counts stay exact") {
  constexpr std::uint64_t blocks = 4;
  std::mt19937 random(7); // NOLINT(cert-msc*): the same every time
  Fixture fixture(blocks);
  Buddy& buddy = fixture.buddy;
  std::vector<bool> used(block_frames * (1 + blocks));
  std::map<std::uint64_t, unsigned> owned;
  for (unsigned step = 0; step < 20'000; ++step) {
    const unsigned choice = random() % 8;
    if (choice < 4) {
      const Order order{static_cast<std::uint8_t>(random() % 6)};
      const Pfn place{block_frames +
                      abi::align_down(random() % (blocks * block_frames), order.frames())};
      bool is_free = true;
      for (std::uint64_t frame = 0; frame < order.frames(); ++frame) {
        is_free = is_free && !used[place.value + frame];
      }
      const BuddyAllocation got = buddy.allocate_at(place, order);
      REQUIRE(got.ok() == is_free);
      if (is_free) {
        owned[place.value] = order.value;
        for (std::uint64_t frame = 0; frame < order.frames(); ++frame) {
          used[place.value + frame] = true;
        }
      }
    } else if (choice < 7 && !owned.empty()) {
      auto it = owned.lower_bound(block_frames + random() % (blocks * block_frames));
      it = it == owned.end() ? owned.begin() : it;
      const Order order{static_cast<std::uint8_t>(it->second)};
      REQUIRE(buddy.free({it->first}, order) == FreeResult::ok);
      for (std::uint64_t frame = 0; frame < order.frames(); ++frame) {
        used[it->first + frame] = false;
      }
      owned.erase(it);
    } else if (choice == 7) {
      std::vector<abi::RangeDescriptor> ranges(64);
      ranges.resize(buddy.isolate(32, 0, ranges).descriptors);
      if (ranges.empty()) {
        continue;
      }
      abi::CompletionEntry answers;
      for (std::uint32_t index = 0; index < ranges.size(); ++index) {
        answers.set_outcome(index, abi::Outcome::discarded);
      }
      buddy.acknowledge(ranges, answers);
    }
    if (step % 500 == 0) {
      const auto in_use = static_cast<std::uint64_t>(std::count(used.begin(), used.end(), true));
      REQUIRE(buddy.fresh_frames() + buddy.answered_frames() + in_use ==
              buddy.frontier() - block(0));
      REQUIRE(free_frames(buddy) + in_use == buddy.frontier() - block(0));
      std::uint64_t reportable = 0;
      buddy.for_each_free_block([&](Pfn pfn, Order order, bool) {
        if (order >= buddy.report_order()) {
          for (Pfn part = pfn; part < pfn + order.frames();) {
            const abi::FrameTag tag = buddy.tags().get(part);
            reportable += tag.kind() == abi::FrameKind::fresh ? tag.order().frames() : 0;
            part = part + tag.order().frames();
          }
        }
      });
      REQUIRE(buddy.fresh_frames_at_or_above_report_order() == reportable);
    }
  }
  CHECK(buddy.redundant_frames() == 0);
}
