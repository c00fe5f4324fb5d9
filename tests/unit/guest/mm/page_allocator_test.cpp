// SPDX-License-Identifier: MIT
#include "guest/mm/page_allocator.hpp"

#include <cstdint>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/adversarial_host.hpp"
#include "tests/support/page_allocator_fixture.hpp"

namespace {

using namespace guest::mm;
using test_support::block_frames;
using test_support::discard_all;
using test_support::PageAllocatorFixture;

} // namespace

TEST_CASE("double and wild frees are caught in the cache and behind it") {
  PageAllocatorFixture fixture({.vcpus = 2});
  PageAllocator& pages = *fixture.pages;
  const abi::Pfn small = fixture.allocate(1);
  const abi::Pfn large = fixture.allocate(6);
  CHECK(pages.free(0, small, {0}) == FreeResult::wrong_order);
  CHECK(pages.free(0, small, {5}) == FreeResult::wrong_order);
  CHECK(pages.free(0, {1}, {0}) == FreeResult::out_of_range);
  CHECK(pages.free(0, small, {200}) == FreeResult::wrong_order);
  fixture.free(small, 1);
  CHECK(pages.free(0, small, {1}) == FreeResult::not_allocated); // cached
  CHECK(pages.free(1, small, {1}) == FreeResult::not_allocated); // on another vCPU
  fixture.free(large, 6);
  CHECK(pages.free(0, large, {6}) == FreeResult::not_allocated);
  static_cast<void>(pages.idle(0));
  CHECK(pages.free(0, small, {1}) == FreeResult::not_allocated); // back in the buddy
  CHECK_FALSE(pages.allocate(0, {11}).ok());
}

TEST_CASE("allocated_order knows owned blocks only") {
  PageAllocatorFixture fixture({});
  const abi::Pfn block = fixture.allocate(2);
  CHECK(fixture.pages->allocated_order(block) == abi::Order{2});
  CHECK_FALSE(fixture.pages->allocated_order(block + 1).has_value());
  CHECK_FALSE(fixture.pages->allocated_order({0}).has_value());
  CHECK_FALSE(fixture.pages->allocated_order({~std::uint64_t{0}}).has_value());
  fixture.free(block, 2);
  CHECK_FALSE(fixture.pages->allocated_order(block).has_value());
}

TEST_CASE("pages that were only ever in a cache are never hinted") {
  PageAllocatorFixture fixture({.policy = {.order = 0}});
  fixture.answer_at_doorbell();
  const abi::Pfn page = fixture.allocate(0); // refills the cache beside it
  fixture.free(page, 0);
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.status.hinted_bytes == abi::page_bytes);
  CHECK(fixture.status.cached_bytes == 0);
  // Reported memory that only passed through the cache does not count as used again.
  const abi::Pfn again = fixture.allocate(0);
  CHECK(again == page);
  CHECK(fixture.status.reused_bytes == abi::page_bytes);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.reused_bytes == abi::page_bytes);
  fixture.free(again, 0);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.hinted_bytes == 2 * abi::page_bytes);
  CHECK(fixture.status.redundant_bytes == 0);
}

TEST_CASE("a block part reported, part never used comes out of a cache as it went in") {
  PageAllocatorFixture fixture({.policy = {.order = 0}});
  fixture.answer_at_doorbell();
  std::vector<abi::Pfn> pages;
  for (unsigned count = 0; count < 17; ++count) {
    pages.push_back(fixture.allocate(0));
  }
  for (unsigned count = 8; count < 17; ++count) {
    fixture.free(pages[count], 0);
  }
  static_cast<void>(fixture.pages->idle(0)); // of pages 16 to 23 the first alone was ever used
  const std::uint64_t never_used = fixture.pages->buddy().never_used_frames();
  CHECK(fixture.allocate(3) == pages[8]); // and takes pages 16 to 23 into the cache
  CHECK(fixture.status.reused_bytes == 9 * abi::page_bytes);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.reused_bytes == 8 * abi::page_bytes);
  CHECK(fixture.pages->buddy().never_used_frames() == never_used);
}

TEST_CASE("the status page adds up") {
  PageAllocatorFixture fixture({.policy = {.order = 3}});
  fixture.answer_at_doorbell();
  std::vector<abi::Pfn> held;
  held.reserve(200);
  for (unsigned count = 0; count < 200; ++count) {
    held.push_back(fixture.allocate(count % 5));
  }
  for (unsigned count = 0; count < 150; ++count) {
    fixture.free(held[count], count % 5);
  }
  static_cast<void>(fixture.pages->idle(0));
  const abi::GuestStatus& status = fixture.status;
  const std::uint64_t owned =
      (status.vcpu[0].allocated_frames - status.vcpu[0].freed_frames) * abi::page_bytes;
  CHECK(owned == std::uint64_t{10} * (1 + 2 + 4 + 8 + 16) * abi::page_bytes);
  CHECK(status.fresh_bytes + status.reported_bytes + status.isolated_bytes + status.cached_bytes +
            owned ==
        status.frontier_gpa - abi::to_gpa({block_frames}).value);
  CHECK(status.isolated_bytes == 0);
  CHECK(fixture.pages->last_buddy_free_ns() == fixture.platform.time_ns);
}

TEST_CASE("whoever comes by takes in what the host answers another vCPU, and how late it does") {
  PageAllocatorFixture fixture({.vcpus = 3, .policy = {.order = 9, .batch = 1}, .timeout_ns = 100});
  const abi::Pfn early = fixture.allocate(10, 1);
  const abi::Pfn late = fixture.allocate(10, 2);
  const abi::Pfn other = fixture.allocate(9, 0);
  fixture.free(early, 10, 1);
  fixture.free(late, 10, 2);
  REQUIRE(fixture.status.hinted_batches == 2);
  fixture.hosts[1].serve(discard_all);
  fixture.free(other, 9, 0);
  CHECK(fixture.status.reported_bytes == block_frames * abi::page_bytes);
  fixture.platform.time_ns += 1000;
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.quarantined_bytes >= block_frames * abi::page_bytes);
  for (test_support::FakeReportHost& host : fixture.hosts) {
    host.serve(discard_all);
  }
  static_cast<void>(fixture.allocate(9, 0)); // one slow path
  CHECK(fixture.status.quarantined_bytes == 0);
  CHECK(fixture.status.isolated_bytes == 0);
  CHECK(fixture.status.late_answers >= 1);
}

TEST_CASE("an answer that nobody asked for is ignored by whose channel it is in") {
  PageAllocatorFixture fixture({.vcpus = 2});
  fixture.hosts[1].post({.batch_id = 7, .page = 1, .range_count = 1});
  static_cast<void>(fixture.pages->idle(0));
  CHECK_FALSE(fixture.pages->arm_interrupt(1)); // it would not sleep over it
  static_cast<void>(fixture.pages->idle(1));
  CHECK(fixture.status.ignored_answers == 1);
  CHECK(fixture.pages->arm_interrupt(1));
}

TEST_CASE("what lies in caches is told by each vCPU when it needs more than its cache") {
  PageAllocatorFixture fixture({.vcpus = 2});
  const auto cached_frames = [&] { return fixture.status.cached_bytes / abi::page_bytes; };
  const abi::Pfn first = fixture.allocate(0, 0);
  const std::uint64_t refill = cached_frames();
  CHECK(refill > 0);
  static_cast<void>(fixture.allocate(0, 1));
  CHECK(cached_frames() == 2 * refill);
  fixture.free(first, 0, 0);
  fixture.free(fixture.allocate(9, 1), 9, 1); // not vCPU 0's business
  CHECK(cached_frames() == 2 * refill);
  fixture.free(fixture.allocate(9, 0), 9, 0);
  CHECK(cached_frames() == 2 * refill + 1);
  static_cast<void>(fixture.pages->idle(1));
  CHECK(cached_frames() == refill + 1);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(cached_frames() == 0);
}

TEST_CASE("memory is plugged unit by unit, when it is needed") {
  PageAllocatorFixture fixture({.blocks = 4, .plugged_frames = 512, .plug_frames = 512});
  std::vector<std::uint64_t> plugged;
  fixture.platform.on_plug = [&](abi::Gpa next) {
    plugged.push_back(abi::to_pfn(next).value);
    return plugged.size() < 4;
  };
  static_cast<void>(fixture.allocate(9));
  CHECK(plugged.empty());
  static_cast<void>(fixture.allocate(10));
  CHECK(plugged ==
        std::vector<std::uint64_t>{block_frames + 512, 2 * block_frames, 2 * block_frames + 512});
  static_cast<void>(fixture.allocate(9)); // left of the unit that completed the first block
  CHECK_FALSE(fixture.pages->allocate(0, {9}).ok()); // the host refuses
  CHECK(plugged.back() == 3 * block_frames);
  CHECK(fixture.status.oom_waits == 0);
}

TEST_CASE("large blocks that the host took come with memory behind them") {
  PageAllocatorFixture fixture(
      {.blocks = 1, .policy = {.order = 0, .batch = 1}, .prefault = abi::Order{4}});
  fixture.answer_at_doorbell();
  const auto& prefaults = fixture.platform.prefaults;
  const abi::Pfn block = fixture.allocate(10);
  CHECK(prefaults.empty()); // the host never had it
  fixture.free(block, 10);

  const abi::Pfn large = fixture.allocate(5);
  REQUIRE(prefaults.size() == 1);
  CHECK(prefaults[0] == std::pair(abi::to_gpa(large), abi::Order{5}.bytes()));
  static_cast<void>(fixture.allocate(3)); // from a cache
  CHECK(prefaults.size() == 1);
  const abi::Pfn smallest = fixture.allocate(4);
  REQUIRE(prefaults.size() == 2);
  CHECK(prefaults[1] == std::pair(abi::to_gpa(smallest), abi::Order{4}.bytes()));
}

TEST_CASE("a block that stayed with the guest is not asked for") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.enabled = 0}, .prefault = abi::Order{4}});
  const abi::Pfn block = fixture.allocate(6);
  fixture.free(block, 6);
  CHECK(fixture.allocate(6) == block);
  CHECK(fixture.platform.prefaults.empty());
}

TEST_CASE("nothing is prefaulted unless asked for") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.order = 0, .batch = 1}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  static_cast<void>(fixture.allocate(10));
  CHECK(fixture.platform.prefaults.empty());
}

TEST_CASE("idle: sends partial batches when the delay is over, and says when that is") {
  PageAllocatorFixture fixture({.policy = {.batch = 64, .delay_ns = 5000}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t freed_ns = fixture.platform.time_ns;
  CHECK(fixture.pages->idle(0) == freed_ns + 5000);
  CHECK(fixture.platform.doorbells == 0);
  fixture.platform.time_ns += 5000;
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.status.fresh_bytes == 0);
}

TEST_CASE("plug units inside the hole are skipped, one that the hole cuts is not") {
  // Units of 1.5 blocks; the hole takes blocks 3 and 4 (of those that begin at 1).
  constexpr std::uint64_t unit = block_frames * 3 / 2;
  PageAllocatorFixture fixture({.blocks = 8,
                                .plugged_frames = unit,
                                .plug_frames = unit,
                                .hole = {.start = {3 * block_frames}, .end = {5 * block_frames}}});
  std::vector<std::uint64_t> plugged;
  fixture.platform.on_plug = [&](abi::Gpa next) {
    plugged.push_back(abi::to_pfn(next).value);
    return true;
  };
  std::vector<std::uint64_t> got;
  got.reserve(6);
  for (unsigned block = 0; block < 6; ++block) {
    got.push_back(fixture.allocate(10).value / block_frames);
  }
  CHECK(got == std::vector<std::uint64_t>{1, 2, 5, 6, 7, 8});
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(plugged == std::vector<std::uint64_t>{block_frames + unit, block_frames + 2 * unit,
                                              block_frames + 3 * unit, block_frames + 4 * unit,
                                              block_frames + 5 * unit});

  PageAllocatorFixture whole({.blocks = 8,
                              .plugged_frames = 2 * block_frames,
                              .plug_frames = block_frames,
                              .hole = {.start = {3 * block_frames}, .end = {5 * block_frames}}});
  plugged.clear();
  whole.platform.on_plug = fixture.platform.on_plug;
  for (unsigned block = 0; block < 3; ++block) {
    static_cast<void>(whole.allocate(10));
  }
  CHECK(plugged == std::vector<std::uint64_t>{5 * block_frames});
}

TEST_CASE("the host re-tunes a running guest at its next slow path") {
  PageAllocatorFixture fixture({.policy = {.enabled = 0, .batch = 1}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  CHECK(fixture.platform.doorbells == 0);
  test_support::write_control(fixture.control, {.batch = 1}, 0);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.platform.doorbells == 1);
  test_support::write_control(fixture.control, {.enabled = 0}, 0);
  fixture.free(fixture.allocate(10), 10);
  CHECK(fixture.platform.doorbells == 1);
  fixture.pages->retune({.policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  CHECK(fixture.platform.doorbells == 2);
}

TEST_CASE("each: frees go past the cache, one doorbell a page; switching back uses it again") {
  PageAllocatorFixture fixture({.policy = {.order = 0, .strategy = abi::ReportStrategy::each}});
  fixture.answer_at_doorbell();
  std::vector<abi::Pfn> held;
  held.reserve(10);
  for (unsigned count = 0; count < 10; ++count) {
    held.push_back(fixture.allocate(0));
  }
  for (const abi::Pfn page : held) {
    fixture.free(page, 0);
    CHECK(fixture.pages->free(0, page, {0}) == FreeResult::not_allocated);
  }
  CHECK(fixture.platform.doorbells == 10);
  CHECK(fixture.status.hinted_bytes == 10 * abi::page_bytes);
  CHECK(fixture.status.redundant_bytes == 0);
  fixture.pages->retune({.policy = {.order = 0}});
  fixture.free(fixture.allocate(0), 0);
  CHECK(fixture.platform.doorbells == 10);
}

TEST_CASE("scan: idle tells when the pass is, and runs it") {
  PageAllocatorFixture fixture({.policy = {.strategy = abi::ReportStrategy::scan}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t pass_ns = fixture.platform.time_ns + ScanSchedule::delay_ns;
  CHECK(fixture.pages->idle(0) == pass_ns);
  CHECK(fixture.platform.doorbells == 0);
  fixture.platform.time_ns = pass_ns;
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.pages->channel_counters(0).batches == 1);
}

TEST_CASE("the most that was live is told, whatever was freed since") {
  PageAllocatorFixture fixture({.blocks = 4, .vcpus = 2});
  std::vector<abi::Pfn> blocks;
  for (unsigned index = 0; index < 200; ++index) {
    const Allocation got = fixture.pages->allocate(index % 2, abi::Order{2});
    REQUIRE(got.ok());
    blocks.push_back(got.pfn);
  }
  for (const abi::Pfn block : blocks) {
    REQUIRE(fixture.pages->free(0, block, abi::Order{2}) == FreeResult::ok); // from either vCPU
  }
  const std::uint64_t peak = 200 * abi::Order{2}.bytes();
  CHECK(fixture.status.live_high_bytes <= peak);
  CHECK(fixture.status.live_high_bytes + 2 * 16 * abi::page_bytes > peak);
}
