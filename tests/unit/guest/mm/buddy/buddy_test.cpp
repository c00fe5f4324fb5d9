// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/buddy.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/buddy_fixture.hpp"

namespace {

using namespace guest::mm;
using abi::Order;
using abi::Pfn;
using test_support::block_frames;
using test_support::blocks;
using test_support::BuddyFixture;

} // namespace

TEST_CASE("a fresh allocator of 64 GiB writes next to nothing") {
  const BuddyConfig config{.first = {700}, .end = {700 + (1U << 24)}, .plugged_end = {1U << 25}};
  BuddyFixture fixture(config);
  for (unsigned count = 0; count < 100; ++count) {
    static_cast<void>(fixture.allocate(0));
  }
  std::set<std::size_t> pages;
  for (std::size_t byte = 0; byte < fixture.metadata.size(); ++byte) {
    if (fixture.metadata[byte] != std::byte{0}) {
      pages.insert(byte / abi::page_bytes);
    }
  }
  CHECK(pages.size() <= 24);
  CHECK(fixture.metadata.size() <= (std::size_t{1} << 24) * 6);
}

TEST_CASE("the frontier: head in aligned pieces, then largest blocks, then the tail") {
  BuddyFixture fixture({.first = {block_frames - 3},
                        .end = {2 * block_frames + 5},
                        .plugged_end = {2 * block_frames + 5}});
  CHECK(fixture.allocate(0) == Pfn{block_frames - 3});
  CHECK(fixture.buddy.frontier() == Pfn{block_frames - 2});
  CHECK(fixture.allocate(1) == Pfn{block_frames - 2});
  CHECK(fixture.allocate(10) == Pfn{block_frames});
  CHECK(fixture.buddy.frontier() == Pfn{2 * block_frames});
  CHECK(fixture.allocate(2) == Pfn{2 * block_frames});
  CHECK(fixture.allocate(0) == Pfn{2 * block_frames + 4});
  CHECK(fixture.buddy.allocate({0}).status == AllocateStatus::out_of_memory);
}

TEST_CASE("memory that is not mapped yet is asked for, and only then") {
  BuddyFixture fixture(
      {.first = {block_frames}, .end = {3 * block_frames}, .plugged_end = {block_frames + 512}});
  CHECK(fixture.buddy.allocate({10}).status == AllocateStatus::needs_plug);
  CHECK(fixture.allocate(9) == Pfn{block_frames}); // carved by the failed attempt
  CHECK(fixture.buddy.allocate({0}).status == AllocateStatus::needs_plug);
  fixture.buddy.set_plugged_end({2 * block_frames});
  CHECK(fixture.allocate(9) == Pfn{block_frames + 512});
  CHECK(fixture.buddy.allocate({0}).status == AllocateStatus::needs_plug);
  fixture.buddy.set_plugged_end({3 * block_frames});
  static_cast<void>(fixture.allocate(10));
  CHECK(fixture.buddy.allocate({0}).status == AllocateStatus::out_of_memory);
}

TEST_CASE("bad frees are told apart and change nothing") {
  BuddyFixture fixture(blocks(2));
  const Pfn block = fixture.allocate(3);
  Buddy& buddy = fixture.buddy;
  const std::uint64_t answered = buddy.answered_frames();
  CHECK(buddy.free(block, {2}) == FreeResult::wrong_order);
  CHECK(buddy.free(block, {11}) == FreeResult::wrong_order);
  CHECK(buddy.free(block + 1, {3}) == FreeResult::unaligned);
  CHECK(buddy.free(block + 4, {0}) == FreeResult::not_allocated);
  CHECK(buddy.free(block + 8, {3}) == FreeResult::not_allocated);
  CHECK(buddy.free({block_frames - 1}, {0}) == FreeResult::out_of_range);
  CHECK(buddy.free({3 * block_frames}, {0}) == FreeResult::out_of_range);
  CHECK(buddy.free({~std::uint64_t{0}}, {0}) == FreeResult::out_of_range);
  CHECK(buddy.free({2 * block_frames}, {10}) == FreeResult::not_allocated); // above the frontier
  CHECK(buddy.answered_frames() == answered);
  CHECK(buddy.fresh_frames() == 0);
  CHECK(buddy.free(block, {3}) == FreeResult::ok);
  CHECK(buddy.free(block, {3}) == FreeResult::not_allocated);
}

TEST_CASE("a range is hinted once, whatever the host answers") {
  for (const abi::Outcome outcome :
       {abi::Outcome::discarded, abi::Outcome::declined, abi::Outcome::failed}) {
    BuddyFixture fixture(blocks(2));
    const Pfn block = fixture.allocate(10);
    CHECK(fixture.isolate().empty()); // what was never handed out is not hinted
    fixture.free(block, 10);
    const auto ranges = fixture.isolate();
    REQUIRE(ranges.size() == 1);
    CHECK(ranges[0].pfn() == block);
    CHECK(ranges[0].order() == Order{10});
    CHECK(fixture.buddy.isolated_frames() == block_frames);
    CHECK(fixture.buddy.free(block, {10}) == FreeResult::not_allocated);
    CHECK(fixture.allocate(10) != block); // quarantined
    CHECK(fixture.buddy.allocate({0}).status == AllocateStatus::out_of_memory);
    fixture.acknowledge(ranges, outcome);
    CHECK(fixture.buddy.isolated_frames() == 0);
    CHECK(fixture.isolate().empty());
    const BuddyAllocation again = fixture.buddy.allocate({10});
    CHECK(again.pfn == block);
    const bool zero = outcome == abi::Outcome::discarded;
    CHECK(again.content == (zero ? Content::zeroed : Content::dirty));
    CHECK(again.was.reused_frames == (zero ? block_frames : 0));
    fixture.free(block, 10);
    CHECK(fixture.isolate().size() == 1);
    CHECK(fixture.buddy.redundant_frames() == 0);
  }
}

TEST_CASE("a host that does not zero: only memory never handed out counts as zero") {
  BuddyConfig config = blocks(1);
  config.discarded = DiscardedContent::unknown;
  BuddyFixture fixture(config);
  const BuddyAllocation first = fixture.buddy.allocate({10});
  CHECK(first.content == Content::zeroed);
  fixture.free(first.pfn, 10);
  fixture.acknowledge(fixture.isolate(), abi::Outcome::discarded);
  CHECK(fixture.buddy.allocate({10}).content == Content::dirty);
}

TEST_CASE("a mixed block is a span with a hint for each fresh part") {
  BuddyFixture fixture(blocks(1));
  const Pfn block = fixture.allocate(10);
  fixture.free(block, 10);
  fixture.acknowledge(fixture.isolate(), abi::Outcome::discarded);
  // Two separate pages of the reported block are used again.
  const Pfn page = fixture.allocate(0);
  const Pfn pair = fixture.allocate(1);
  fixture.free(page, 0);
  fixture.free(pair, 1);
  CHECK(fixture.buddy.fresh_frames_at_or_above_report_order() == 3);
  const auto ranges = fixture.isolate();
  REQUIRE(ranges.size() == 3);
  CHECK(ranges[0].kind() == abi::RangeKind::span);
  CHECK(ranges[0].pfn() == block);
  CHECK(ranges[0].order() == Order{10});
  CHECK(ranges[1].pfn() == page);
  CHECK(ranges[2].pfn() == pair);
  CHECK(ranges[2].order() == Order{1});
  fixture.acknowledge(ranges, abi::Outcome::discarded);
  const BuddyAllocation all = fixture.buddy.allocate({10});
  CHECK(all.content == Content::zeroed);
  CHECK(all.was.reused_frames == block_frames);
}

TEST_CASE("a block with one part more than a batch holds is taken in halves") {
  for (const unsigned report_order : {0U, 9U, 10U}) {
    CAPTURE(report_order);
    BuddyFixture fixture(blocks(1, 10));
    // Make every other page declined, all others fresh: 512 fresh parts and a span.
    const std::vector<Pfn> pages = fixture.allocate_many(block_frames, 0);
    fixture.buddy.set_report_order({0});
    for (std::uint64_t page = 0; page < block_frames; page += 2) {
      fixture.free(pages[page], 0);
    }
    fixture.acknowledge(fixture.isolate(), abi::Outcome::declined);
    fixture.buddy.set_report_order({static_cast<std::uint8_t>(report_order)});
    for (std::uint64_t page = 1; page < block_frames; page += 2) {
      fixture.free(pages[page], 0);
    }
    CHECK(fixture.buddy.fresh_frames_at_or_above_report_order() == 512);
    const auto upper = fixture.isolate();
    REQUIRE(upper.size() == 257);
    CHECK(upper[0].kind() == abi::RangeKind::span);
    CHECK(upper[0].pfn() == Pfn{block_frames + 512});
    CHECK(upper[0].order() == Order{9});
    fixture.acknowledge(upper, abi::Outcome::discarded);
    const auto lower = fixture.isolate();
    REQUIRE(lower.size() == 257);
    CHECK(lower[0].pfn() == Pfn{block_frames});
    CHECK(lower[0].order() == Order{10});
    fixture.acknowledge(lower, abi::Outcome::discarded);
    CHECK(fixture.buddy.fresh_frames() == 0);
    CHECK(fixture.buddy.redundant_frames() == 0);
    CHECK(fixture.isolate().empty());
  }
}

TEST_CASE("isolation: largest first, highest first, down to the reserve") {
  BuddyFixture fixture(blocks(4));
  const std::vector<Pfn> blocks_held = fixture.allocate_many(8, 9);
  fixture.free(blocks_held[0], 9); // order 9, alone
  for (unsigned index = 4; index < 8; ++index) {
    fixture.free(blocks_held[index], 9); // two of order 10
  }
  const auto ranges = fixture.isolate(abi::max_batch_ranges, 512);
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0].pfn() == blocks_held[6]);
  CHECK(ranges[1].pfn() == blocks_held[4]);
  CHECK(fixture.buddy.fresh_frames_at_or_above_report_order() == 512);
  CHECK(fixture.isolate(1, 1).empty());
  CHECK(fixture.isolate(1, 0).size() == 1);
}

TEST_CASE("a smaller block is taken where the larger one would go below the reserve") {
  BuddyFixture fixture(blocks(4));
  const std::vector<Pfn> held = fixture.allocate_many(4, 9);
  fixture.free(held[0], 9);
  fixture.free(held[2], 9);
  fixture.free(held[3], 9);
  const auto ranges = fixture.isolate(8, 1000);
  REQUIRE(ranges.size() == 1);
  CHECK(ranges[0].pfn() == held[0]);
}

TEST_CASE("allocation prefers resident memory, then the smallest reported block") {
  BuddyFixture fixture(blocks(3, 0));
  const Pfn large = fixture.allocate(10);
  const Pfn small = fixture.allocate(2);
  const Pfn guard = fixture.allocate(2);
  fixture.free(large, 10);
  fixture.free(small, 2);
  fixture.acknowledge(fixture.isolate(), abi::Outcome::discarded);
  // Reported: 4 MiB at `large`, 16 KiB at `small`. Fresh: one page, after this.
  const Pfn page = fixture.allocate(0);
  CHECK(page == small); // the small reported block is split, not the large one
  const Pfn other = fixture.allocate(1);
  CHECK(other == small + 2);
  fixture.free(other, 1);
  CHECK(fixture.allocate(0) == other); // fresh before reported
  CHECK(fixture.allocate(9) != large); // carved rest is smaller than the reported 4 MiB
  static_cast<void>(guard);
}

TEST_CASE("allocation fills the lowest area that is in use before it opens another") {
  BuddyFixture fixture(blocks(3, 10));
  const Pfn low = fixture.allocate(9);
  const Pfn high = fixture.allocate(9);
  const Pfn guard = fixture.allocate(10);
  fixture.free(low, 9);
  const Pfn pinned = fixture.allocate(0);
  REQUIRE(pinned == low); // the rest of this area is in blocks of all orders below 9
  // A hole of just the right size lies higher up.
  fixture.free(high, 9);
  const Pfn upper = fixture.allocate(8);
  const Pfn whole = fixture.allocate(9);
  CHECK(upper == low + 256);
  CHECK(whole == high);
  fixture.free(whole, 9);
  for (std::uint64_t frame = 1; frame < 256; ++frame) {
    CHECK(fixture.allocate(0) == low + frame);
  }
  CHECK(fixture.allocate(0) == high);
  // Now there is room for a page in both areas: in the lower one it breaks a larger block.
  const Pfn neighbour = fixture.allocate(0);
  fixture.free(upper, 8);
  fixture.free(high, 0);
  CHECK(fixture.allocate(0) == low + 256);
  static_cast<void>(guard);
  static_cast<void>(neighbour);
}

TEST_CASE("the hole is jumped over, never handed out, and no block reaches into it") {
  BuddyConfig config = blocks(5);
  config.hole = {.start = {2 * block_frames}, .end = {4 * block_frames}};
  BuddyFixture fixture(config);
  std::set<std::uint64_t> got;
  for (unsigned count = 0; count < 3; ++count) {
    got.insert(fixture.allocate(10).value);
  }
  CHECK(got == std::set<std::uint64_t>{block_frames, 4 * block_frames, 5 * block_frames});
  CHECK(fixture.buddy.allocate({0}).status == AllocateStatus::out_of_memory);
  CHECK(fixture.buddy.answered_frames() == 0); // the hole was not counted
  for (const std::uint64_t pfn : got) {
    fixture.free({pfn}, 10);
  }
  CHECK(fixture.buddy.fresh_frames() == 3 * block_frames);
  CHECK(fixture.buddy.free_blocks({10}) == 3);
  CHECK(fixture.isolate().size() == 3);
}

TEST_CASE("freeing in the hole is out of range") {
  BuddyConfig config = blocks(5);
  config.hole = {.start = {2 * block_frames}, .end = {4 * block_frames}};
  BuddyFixture fixture(config);
  const Pfn below = fixture.allocate(10);
  const Pfn above = fixture.allocate(10);
  for (const std::uint64_t pfn : {2 * block_frames, 3 * block_frames, 4 * block_frames - 1}) {
    CHECK(fixture.buddy.free({pfn}, {0}) == FreeResult::out_of_range);
  }
  CHECK(fixture.buddy.free({2 * block_frames}, {10}) == FreeResult::out_of_range);
  CHECK(fixture.buddy.free(below + (block_frames - 1), {0}) == FreeResult::not_allocated);
  fixture.free(below, 10);
  fixture.free(above, 10);
}

TEST_CASE("holes in odd places: at either end, unaligned, reaching past the end") {
  BuddyConfig config = blocks(4);
  config.first = {block_frames + 3};
  SUBCASE("from the first frame on") {
    config.hole = {.start = {block_frames}, .end = {2 * block_frames}};
    CHECK(BuddyFixture(config).allocate(0) == Pfn{2 * block_frames});
  }
  SUBCASE("up to the end and beyond: RAM just ends earlier") {
    config.hole = {.start = {3 * block_frames}, .end = {100 * block_frames}};
    config.plugged_end = {3 * block_frames};
    BuddyFixture fixture(config);
    CHECK(fixture.allocate(10) == Pfn{2 * block_frames});
    CHECK(fixture.buddy.allocate({10}).status == AllocateStatus::out_of_memory);
  }
  SUBCASE("unaligned: no frame of a block that it touches is used") {
    config.hole = {.start = {3 * block_frames - 1}, .end = {3 * block_frames + 1}};
    BuddyFixture fixture(config);
    CHECK(fixture.buddy.hole().start == Pfn{2 * block_frames});
    CHECK(fixture.buddy.hole().end == Pfn{4 * block_frames});
    CHECK(fixture.allocate(10) == Pfn{4 * block_frames});
  }
  SUBCASE("what is plugged ends inside the hole") {
    config.hole = {.start = {2 * block_frames}, .end = {4 * block_frames}};
    config.plugged_end = {3 * block_frames};
    BuddyFixture fixture(config);
    CHECK(fixture.buddy.allocate({10}).status == AllocateStatus::needs_plug);
    CHECK(fixture.allocate(9) == Pfn{block_frames + 512}); // carved by the failed attempt
    fixture.buddy.set_plugged_end({4 * block_frames});
    CHECK(fixture.buddy.allocate({10}).status == AllocateStatus::needs_plug);
    fixture.buddy.set_plugged_end({5 * block_frames});
    CHECK(fixture.allocate(10) == Pfn{4 * block_frames});
  }
}

TEST_CASE("isolation from one list leaves the others alone") {
  BuddyFixture fixture(blocks(4));
  const std::vector<Pfn> held = fixture.allocate_many(4, 9);
  fixture.free(held[0], 9);
  fixture.free(held[2], 9);
  fixture.free(held[3], 9);
  CHECK(fixture.buddy.free_blocks({9}) == 1);
  std::vector<abi::RangeDescriptor> ranges(8);
  CHECK(fixture.buddy.isolate_list({9}, 8, 0, ranges).descriptors == 1);
  CHECK(ranges[0].pfn() == held[0]);
  CHECK(fixture.buddy.isolate_list({9}, 8, 0, ranges).descriptors == 0);
  CHECK(fixture.buddy.isolate_list({10}, 8, 0, ranges).descriptors == 1);
}

TEST_CASE(
    "what was carved and never handed out is counted until it is, whatever is isolated with it") {
  BuddyFixture fixture(blocks(4, 0));
  Buddy& buddy = fixture.buddy;
  CHECK(buddy.never_used_frames() == 0);
  const Pfn page = fixture.allocate(0);
  CHECK(buddy.never_used_frames() == block_frames - 1);
  fixture.free(page, 0); // one fresh page in a block of which the rest was never used
  CHECK(buddy.never_used_frames() == block_frames - 1);
  const auto ranges = fixture.isolate();
  REQUIRE_FALSE(ranges.empty());
  CHECK(buddy.isolated_frames() == block_frames);
  CHECK(buddy.never_used_frames() == block_frames - 1);
  fixture.acknowledge(ranges, abi::Outcome::discarded);
  CHECK(buddy.never_used_frames() == block_frames - 1);

  // Handed out and given back untouched: as if nothing had been.
  BuddyAllocation got = buddy.allocate({9});
  REQUIRE(got.ok());
  REQUIRE(got.content == Content::zeroed);
  const std::uint64_t held = 512 - got.was.reused_frames;
  CHECK(buddy.never_used_frames() == block_frames - 1 - held);
  buddy.free_untouched(got.pfn, {9}, got.was);
  CHECK(buddy.never_used_frames() == block_frames - 1);

  const Pfn whole = fixture.allocate(abi::max_order);
  CHECK(buddy.never_used_frames() == 0);
  fixture.free(whole, abi::max_order);
  CHECK(buddy.never_used_frames() == 0);
  CHECK(buddy.fresh_frames() == block_frames);
}
