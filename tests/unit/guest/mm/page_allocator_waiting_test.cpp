// SPDX-License-Identifier: MIT
// What a vCPU does that has nothing to allocate yet: it waits for ranges in flight, for other vCPUs
// and for answers, and gives up in time.

#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/no_allocation.hpp"
#include "tests/support/page_allocator_fixture.hpp"

namespace {

using namespace guest::mm;
using test_support::block_frames;
using test_support::discard_all;
using test_support::PageAllocatorFixture;
using test_support::second_ns;

} // namespace

TEST_CASE("an allocation that finds nothing gets what other vCPUs have cached") {
  PageAllocatorFixture fixture({.blocks = 1, .vcpus = 3});
  for (unsigned count = 0; count < block_frames; ++count) {
    static_cast<void>(fixture.allocate(0, count % 3));
  }
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  const abi::Pfn pair{block_frames + 10}; // every page of the block is owned
  fixture.free(pair, 0, 2);
  fixture.free(pair + 1, 0, 1);
  CHECK(fixture.allocate(1) == pair); // merged from two caches
}

TEST_CASE("an allocation waits for ranges in flight") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.batch = 1}});
  const abi::Pfn block = fixture.allocate(10);
  fixture.free(block, 10); // submitted; the host is slow
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  unsigned waits = 0;
  fixture.platform.on_sleep = [&] {
    if (++waits == 5) {
      fixture.hosts[0].serve(discard_all);
    }
  };
  const Allocation got = fixture.pages->allocate(0, {0});
  CHECK(got.ok());
  CHECK(got.content == Content::zeroed);
  CHECK(waits == 5);
  CHECK(fixture.status.oom_waits == 1);
}

TEST_CASE("who waits for ranges in flight sleeps, with its channel's interrupt armed") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    CHECK(fixture.channels[0].rings.want_interrupt == 1);
    CHECK(fixture.platform.spun_ns == 0);
    if (++sleeps == 3) {
      fixture.hosts[0].serve(discard_all);
    }
  };
  CHECK(fixture.pages->allocate(0, {0}).ok());
  CHECK(sleeps == 3);
  CHECK(fixture.channels[0].rings.want_interrupt == 0);
  CHECK(fixture.platform.spun_ns == 0);
}

TEST_CASE("who waits for memory is woken by what another vCPU frees, and gets it") {
  PageAllocatorFixture fixture({.blocks = 2, .vcpus = 2, .policy = {.batch = 1}});
  const abi::Pfn in_flight = fixture.allocate(10);
  std::vector<abi::Pfn> singles;
  for (std::uint64_t page = 0; page < block_frames; ++page) {
    singles.push_back(fixture.allocate(0, 1));
  }
  fixture.free(in_flight, 10); // never answered
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    ++sleeps;
    fixture.free(singles.back(), 0, 1); // would lie in the other vCPU's cache otherwise
    singles.pop_back();
    CHECK(fixture.platform.woken == std::vector<unsigned>{0});
  };
  CHECK(fixture.pages->allocate(0, {0}).ok());
  CHECK(sleeps == 1);
  // And frees are cached again.
  fixture.free(singles.back(), 0, 1);
  static_cast<void>(fixture.allocate(0, 1));
  CHECK(fixture.platform.woken.size() == 1);
}

TEST_CASE("who waits for memory is woken by an answer that another vCPU takes in") {
  PageAllocatorFixture fixture({.blocks = 2, .vcpus = 2, .policy = {.batch = 1}});
  const abi::Pfn first = fixture.allocate(10, 0);
  const abi::Pfn second = fixture.allocate(10, 1);
  fixture.free(first, 10, 0);
  fixture.free(second, 10, 1);
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    if (++sleeps == 1) {
      fixture.hosts[1].serve(discard_all);
      static_cast<void>(fixture.pages->idle(1));
      CHECK(fixture.platform.woken == std::vector<unsigned>{0});
    }
  };
  CHECK(fixture.pages->allocate(0, {10}).ok());
  CHECK(sleeps == 1);
}

TEST_CASE("beside other vCPUs nobody who waits for memory sleeps for long") {
  PageAllocatorFixture fixture({.blocks = 1, .vcpus = 2, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t start_ns = fixture.platform.time_ns;
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    CHECK(fixture.platform.time_ns <= start_ns + ++sleeps * (second_ns / 100));
  };
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(sleeps >= 1000); // of 10 ms
}

TEST_CASE("a batch that is never answered is waited for once, and stays set aside") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t start_ns = fixture.platform.time_ns;
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.platform.time_ns - start_ns >= 10 * second_ns);
  CHECK(fixture.platform.time_ns - start_ns < 11 * second_ns);
  const std::uint64_t second_start_ns = fixture.platform.time_ns;
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.platform.time_ns == second_start_ns);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  fixture.hosts[0].serve(discard_all); // late, but in time for this one
  CHECK(fixture.pages->allocate(0, {0}).ok());
}

TEST_CASE("freeing goes on at a busy channel, and everything is reported later") {
  PageAllocatorFixture fixture({.blocks = 32, .policy = {.batch = 1}});
  std::vector<abi::Pfn> held;
  held.reserve(32);
  for (unsigned count = 0; count < 32; ++count) {
    held.push_back(fixture.allocate(10));
  }
  unsigned waits = 0;
  fixture.platform.on_sleep = [&] { ++waits; };
  for (const abi::Pfn block : held) {
    fixture.free(block, 10);
  }
  CHECK(waits == 0);
  CHECK(fixture.platform.doorbells == abi::ring_entries);
  CHECK(fixture.pages->reporter_counters().busy == 32 - abi::ring_entries);
  CHECK(fixture.status.fresh_bytes == (32 - abi::ring_entries) * block_frames * abi::page_bytes);
  CHECK(fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) ==
        QuiesceResult::timed_out);
  fixture.platform.on_sleep = [&] { fixture.hosts[0].serve(discard_all); };
  CHECK(fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) == QuiesceResult::settled);
  CHECK(fixture.status.fresh_bytes == 0);
  CHECK(fixture.status.isolated_bytes == 0);
  CHECK(fixture.status.hinted_bytes == 32 * block_frames * abi::page_bytes);
  CHECK(fixture.status.redundant_bytes == 0);
}

TEST_CASE("submitting takes no memory: every frame stays accounted for when none is free") {
  PageAllocatorFixture fixture({.blocks = 2, .policy = {.batch = 1}});
  const abi::Pfn first = fixture.allocate(10);
  static_cast<void>(fixture.allocate(10));
  const std::uint64_t frontier = fixture.status.frontier_gpa;
  fixture.free(first, 10);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  CHECK(fixture.status.fresh_bytes + fixture.status.reported_bytes == 0);
  CHECK(fixture.status.vcpu[0].allocated_frames == 2 * block_frames);
  CHECK(fixture.status.frontier_gpa == frontier);
}

TEST_CASE("an idle vCPU takes in the answers of vCPUs that sleep") {
  PageAllocatorFixture fixture({.vcpus = 2, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10, 1), 10, 1);
  CHECK(fixture.pages->arm_interrupt(1));
  fixture.hosts[1].serve(discard_all);
  CHECK_FALSE(fixture.pages->arm_interrupt(1));
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.status.isolated_bytes == 0);
}

TEST_CASE("what is overdue is not waited for: not by an allocation, nor by quiesce") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.batch = 1}, .timeout_ns = second_ns});
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t start_ns = fixture.platform.time_ns;
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.platform.time_ns - start_ns >= second_ns);
  CHECK(fixture.platform.time_ns - start_ns < 2 * second_ns);
  CHECK(fixture.status.oom_waits == 1);
  CHECK(fixture.status.oom_failures == 0); // nothing was left to wait for
  CHECK(fixture.status.quarantined_bytes == block_frames * abi::page_bytes);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  CHECK(fixture.status.max_in_flight_bytes == block_frames * abi::page_bytes);
  std::uint64_t waits = 0;
  for (const std::uint32_t count : fixture.status.oom_wait.counts) {
    waits += count;
  }
  CHECK(waits == 1);
  const std::uint64_t quiesce_ns = fixture.platform.time_ns;
  CHECK(fixture.pages->quiesce(0, quiesce_ns + 100 * second_ns) == QuiesceResult::settled);
  CHECK(fixture.platform.time_ns == quiesce_ns);
  fixture.hosts[0].serve(discard_all); // late
  CHECK(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.status.late_answers == 1);
  CHECK(fixture.status.quarantined_bytes == 0);
}

TEST_CASE("an answer that came in time but was looked at late is no late answer") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.batch = 1}, .timeout_ns = second_ns});
  fixture.free(fixture.allocate(10), 10);
  fixture.hosts[0].serve(discard_all);
  fixture.platform.time_ns += 100 * second_ns;
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.late_answers == 0);
  CHECK(fixture.status.quarantined_bytes == 0);
}

TEST_CASE("patience without a timeout ends all the same, and counts as false out-of-memory") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.status.oom_failures == 1);
  CHECK(fixture.status.quarantined_bytes == 0);
}

TEST_CASE("quiesce gives up at once when quarantined batches block the channel") {
  PageAllocatorFixture fixture({.blocks = 32, .policy = {.batch = 1}, .timeout_ns = second_ns});
  std::vector<abi::Pfn> held;
  held.reserve(abi::ring_entries + 1);
  for (unsigned count = 0; count <= abi::ring_entries; ++count) {
    held.push_back(fixture.allocate(10));
  }
  for (const abi::Pfn block : held) {
    fixture.free(block, 10);
  }
  fixture.platform.time_ns += 2 * second_ns;
  const std::uint64_t start_ns = fixture.platform.time_ns;
  CHECK(fixture.pages->quiesce(0, start_ns + 100 * second_ns) == QuiesceResult::timed_out);
  CHECK(fixture.platform.time_ns == start_ns);
  CHECK(fixture.status.quarantined_bytes == abi::ring_entries * block_frames * abi::page_bytes);
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
}

TEST_CASE("memory in the caches is not hinted away from an allocation that needs it") {
  PageAllocatorFixture fixture({.blocks = 1, .policy = {.order = 0, .batch = 1}});
  for (unsigned count = 0; count < block_frames; ++count) {
    static_cast<void>(fixture.allocate(0));
  }
  fixture.free({block_frames}, 0);
  fixture.free({block_frames + 1}, 0);
  CHECK(fixture.pages->allocate(0, {1}).ok());
  CHECK(fixture.platform.doorbells == 0);
  CHECK(fixture.status.oom_waits == 0);
}

TEST_CASE("answers to a vCPU that never comes by are taken in by those who do") {
  PageAllocatorFixture fixture({.blocks = 2, .vcpus = 3, .policy = {.batch = 1}});
  const abi::Pfn first = fixture.allocate(10, 1);
  const abi::Pfn second = fixture.allocate(10, 2);
  fixture.free(first, 10, 1);
  fixture.free(second, 10, 2);
  fixture.hosts[1].serve(discard_all);
  CHECK(fixture.allocate(9, 0) == first); // on the slow path of another
  fixture.hosts[2].serve(discard_all);
  fixture.free(first, 9, 0);
  // What vCPU 0 has just sent: a span of one block, instead of that and the other vCPU's.
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
}

TEST_CASE("reporting goes on when nothing can be allocated, by anybody") {
  for (const auto strategy :
       {abi::ReportStrategy::batch, abi::ReportStrategy::each, abi::ReportStrategy::scan,
        abi::ReportStrategy::decay, abi::ReportStrategy::adaptive}) {
    CAPTURE(static_cast<unsigned>(strategy));
    PageAllocatorFixture fixture({.blocks = 2,
                                  .policy = {.order = 0, .batch = 4, .strategy = strategy},
                                  .timeout_ns = second_ns});
    fixture.platform.on_doorbell = [&](unsigned channel) {
      const test_support::AllocationAllowed host;
      fixture.hosts[channel].serve(discard_all);
    };
    for (unsigned count = 0; count < 2 * block_frames; ++count) {
      static_cast<void>(fixture.allocate(0));
    }
    REQUIRE_FALSE(fixture.pages->allocate(0, {0}).ok());
    std::uint64_t failures = 0;
    {
      const test_support::AllocationForbidden guest;
      for (std::uint64_t frame = 0; frame < block_frames; ++frame) {
        failures +=
            fixture.pages->free(0, {block_frames + 2 * frame}, {0}) == FreeResult::ok ? 0U : 1U;
        fixture.platform.time_ns += second_ns / 100;
      }
      static_cast<void>(fixture.pages->idle(0));
      failures +=
          fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) == QuiesceResult::settled
              ? 0U
              : 1U;
    }
    CHECK(failures == 0);
    CHECK(fixture.status.hinted_bytes == block_frames * abi::page_bytes);
    CHECK(fixture.status.reported_bytes == block_frames * abi::page_bytes);
  }
}
