// SPDX-License-Identifier: MIT
// What each strategy makes of free memory.
#include "guest/mm/reporting/reporter.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/reporter_fixture.hpp"

namespace {

using namespace guest::mm;
using test_support::huge_frames;
using Fixture = test_support::ReporterFixture;

} // namespace

TEST_CASE("each: every free that makes a block reportable is due at once, a batch per block") {
  Fixture fixture({.batch = 256, .strategy = abi::ReportStrategy::each, .delay_ns = 1000});
  for (unsigned block = 0; block < 3; ++block) {
    fixture.free_one();
    CHECK(fixture.reporter->due_locked(0, Urgency::busy));
    CHECK(fixture.submit() == SubmitResult::ring_doorbell);
    CHECK_FALSE(fixture.reporter->due_locked(0, Urgency::busy));
  }
  const auto batches = fixture.host->take();
  REQUIRE(batches.size() == 3);
  CHECK(batches[2].entry.range_count == 1);
}

TEST_CASE("scan: after two seconds two batches of at most 32, then again two seconds") {
  constexpr std::uint64_t blocks = 96;
  Fixture fixture({.batch = 1, .strategy = abi::ReportStrategy::scan}, 0, blocks);
  Reporter& reporter = *fixture.reporter;
  fixture.free_one(100);
  fixture.free_many(blocks - 1);
  const std::uint64_t first_ns = 100 + ScanSchedule::delay_ns;
  CHECK(reporter.next_deadline_ns(0, 100) == 0 + ScanSchedule::delay_ns + 100);
  CHECK_FALSE(reporter.due_locked(first_ns - 1, Urgency::idle));
  CHECK(reporter.due_locked(first_ns, Urgency::busy));
  for (unsigned batch = 0; batch < 2; ++batch) {
    CHECK(fixture.submit(first_ns) == SubmitResult::ring_doorbell);
    CHECK(reporter.due_locked(first_ns, Urgency::busy)); // the pass is not over
  }
  CHECK(fixture.submit(first_ns) == SubmitResult::nothing);
  CHECK_FALSE(reporter.due_locked(first_ns, Urgency::busy));
  const auto batches = fixture.host->take();
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].entry.range_count == ScanSchedule::batch_ranges);
  CHECK(batches[1].entry.range_count == ScanSchedule::batch_ranges);
  CHECK(reporter.next_deadline_ns(0, first_ns) == first_ns + ScanSchedule::delay_ns);
  CHECK(fixture.submit(first_ns + ScanSchedule::delay_ns) == SubmitResult::ring_doorbell);
  // Nothing is left: no more passes.
  CHECK(reporter.next_deadline_ns(0, 0) == Reporter::never);
  CHECK_FALSE(reporter.due_locked(Reporter::never - 1, Urgency::busy));
}

TEST_CASE("scan: a pass that the channel interrupts goes on where it was") {
  Fixture fixture({.strategy = abi::ReportStrategy::scan});
  fixture.free_many(1);
  fixture.rings().submit_head = 100; // full
  CHECK(fixture.reporter->due_locked(ScanSchedule::delay_ns, Urgency::busy));
  CHECK(fixture.submit(ScanSchedule::delay_ns) == SubmitResult::busy);
  CHECK(fixture.reporter->due_locked(ScanSchedule::delay_ns + 1, Urgency::busy));
  fixture.rings().submit_head = 0;
  CHECK(fixture.submit(ScanSchedule::delay_ns + 1) == SubmitResult::ring_doorbell);
}

TEST_CASE("scan: a reserve that blocks everything does not wake anybody again") {
  Fixture fixture(
      {.strategy = abi::ReportStrategy::scan, .keep_bytes = (huge_frames / 2) * abi::page_bytes});
  fixture.free_many(1);
  CHECK(fixture.submit(ScanSchedule::delay_ns) == SubmitResult::nothing);
  CHECK(fixture.reporter->next_deadline_ns(0, ScanSchedule::delay_ns) == Reporter::never);
}

TEST_CASE("scan: quiescing does not wait for passes") {
  Fixture fixture({.strategy = abi::ReportStrategy::scan});
  fixture.free_many(1);
  CHECK(fixture.reporter->due_locked(0, Urgency::now));
  CHECK(fixture.submit(0, Urgency::now) == SubmitResult::ring_doorbell);
}

TEST_CASE("decay: what is free is let go by halves, largest blocks first, to the last one") {
  constexpr std::uint64_t half_life_ns = 16'000;
  Fixture fixture({.batch = 64, .strategy = abi::ReportStrategy::decay, .delay_ns = half_life_ns});
  Reporter& reporter = *fixture.reporter;
  for (unsigned count = 0; count < 32; ++count) {
    fixture.free_one(1'000);
  }
  CHECK_FALSE(reporter.due_locked(1'000, Urgency::idle));
  CHECK(fixture.submit(1'000, Urgency::idle) == SubmitResult::nothing);

  // As an idle vCPU does: sleeps until it should look again.
  std::uint64_t now_ns = 1'000;
  std::uint64_t after_one_ns = 0;
  for (unsigned looks = 0; reporter.next_deadline_ns(0, now_ns) != Reporter::never; ++looks) {
    REQUIRE(looks < 20 * Cooling::looks);
    now_ns = reporter.next_deadline_ns(0, now_ns);
    reporter.note_time_locked(now_ns);
    if (reporter.due_locked(now_ns, Urgency::idle)) {
      static_cast<void>(fixture.submit(now_ns, Urgency::idle));
      fixture.host->serve([](abi::RangeDescriptor) { return abi::Outcome::discarded; });
      fixture.drain(now_ns);
    }
    if (now_ns == 1'000 + half_life_ns + half_life_ns / Cooling::holds) { // held, then halved
      after_one_ns = reporter.counters().bytes;
    }
  }
  CHECK(after_one_ns >= 15 * huge_frames * abi::page_bytes);
  CHECK(after_one_ns <= 16 * huge_frames * abi::page_bytes);
  CHECK(reporter.counters().bytes == 32 * huge_frames * abi::page_bytes);
}

TEST_CASE("decay: a small block does not go in the place of a larger one that is too warm") {
  Fixture fixture({.order = 0, .strategy = abi::ReportStrategy::decay, .delay_ns = 16'000});
  // 511 pages below a block of 512: whatever cools first, it is less than that.
  fixture.free_one(1'000);
  const BuddyAllocation page = fixture.buddy.allocate({0});
  REQUIRE(page.ok());
  fixture.free_one(1'000);
  fixture.reporter->note_time_locked(5'000);
  REQUIRE(fixture.buddy.fresh_frames() == 2 * huge_frames - 1);
  CHECK_FALSE(fixture.reporter->due_locked(5'000, Urgency::busy));
  CHECK(fixture.submit(5'000, Urgency::idle) == SubmitResult::nothing);
  CHECK_FALSE(fixture.reporter->due_locked(5'000, Urgency::idle));
  // It is not forgotten.
  const std::uint64_t next_ns = fixture.reporter->next_deadline_ns(0, 5'000);
  CHECK(next_ns != Reporter::never);
  fixture.reporter->note_time_locked(1'000 + 26'000);
  CHECK(fixture.submit(1'000 + 26'000, Urgency::idle) == SubmitResult::ring_doorbell);
  CHECK(fixture.reporter->counters().ranges == 1);
  CHECK(fixture.reporter->counters().bytes == huge_frames * abi::page_bytes);
}

TEST_CASE("decay: the reserve is kept beside what is warm, not on top of it") {
  Fixture fixture({.batch = 1,
                   .strategy = abi::ReportStrategy::decay,
                   .keep_bytes = 2 * huge_frames * abi::page_bytes,
                   .delay_ns = 1'600});
  for (unsigned count = 0; count < 3; ++count) {
    fixture.free_one(1'000);
  }
  fixture.reporter->note_time_locked(1'000'000);
  fixture.free_one(1'000'000); // warm, and of the reserve
  CHECK(fixture.submit(1'000'000) == SubmitResult::ring_doorbell);
  CHECK(fixture.submit(1'000'000) == SubmitResult::ring_doorbell);
  CHECK(fixture.submit(1'000'000) == SubmitResult::nothing);
  CHECK(fixture.buddy.fresh_frames() == 2 * huge_frames);
}

TEST_CASE("decay: quiescing does not wait for memory to cool") {
  Fixture fixture({.strategy = abi::ReportStrategy::decay, .delay_ns = 1'000'000});
  fixture.free_many(1);
  CHECK(fixture.reporter->due_locked(0, Urgency::now));
  CHECK(fixture.submit(0, Urgency::now) == SubmitResult::ring_doorbell);
}

TEST_CASE("decay: quiescing takes small blocks down to the reserve") {
  Fixture fixture({.order = 0,
                   .strategy = abi::ReportStrategy::decay,
                   .keep_bytes = 600 * abi::page_bytes,
                   .delay_ns = 1'000'000});
  fixture.free_one();
  REQUIRE(fixture.buddy.allocate({0}).ok());
  fixture.free_one();
  REQUIRE(fixture.buddy.fresh_frames() == 2 * huge_frames - 1);
  CHECK(fixture.submit(0, Urgency::now) == SubmitResult::ring_doorbell);
  CHECK(fixture.buddy.fresh_frames() >= 600);
  CHECK(fixture.buddy.fresh_frames() < 700);
}

TEST_CASE("adaptive: begins as decay does, lets nothing go once that has never paid") {
  constexpr std::uint64_t ms = 1'000'000;
  Fixture fixture({.batch = 64, .strategy = abi::ReportStrategy::adaptive, .delay_ns = 1'280 * ms});
  Reporter& reporter = *fixture.reporter;
  const std::uint64_t first_ns = reporter.half_life_ns();
  CHECK(first_ns == 28 * ms);
  for (unsigned count = 0; count < 32; ++count) {
    fixture.free_one(1'000);
  }
  std::uint64_t now_ns = 1'000;
  // All of the memory is wanted again after half a second, again and again.
  for (unsigned round = 0; round < 40; ++round) {
    for (unsigned look = 0; look < 50; ++look, now_ns += 10 * ms) {
      reporter.note_time_locked(now_ns);
      while (reporter.due_locked(now_ns, Urgency::idle) &&
             fixture.submit(now_ns, Urgency::idle) == SubmitResult::ring_doorbell) {
        fixture.host->serve([](abi::RangeDescriptor) { return abi::Outcome::discarded; });
        fixture.drain(now_ns);
      }
    }
    std::vector<abi::Pfn> blocks;
    for (BuddyAllocation got = fixture.buddy.allocate({9}); got.ok();
         got = fixture.buddy.allocate({9})) {
      blocks.push_back(got.pfn);
    }
    CHECK(blocks.size() == 32);
    now_ns += 10 * ms;
    reporter.note_time_locked(now_ns);
    for (const abi::Pfn pfn : blocks) {
      REQUIRE(fixture.buddy.free(pfn, {9}) == FreeResult::ok);
    }
  }
  CHECK(reporter.counters().bytes > 0);
  CHECK(reporter.half_life_ns() > first_ns);
}

TEST_CASE("adaptive: who lets nothing go looks again while it idles, and lets go in the end") {
  constexpr std::uint64_t ms = 1'000'000;
  Fixture fixture({.batch = 64, .strategy = abi::ReportStrategy::adaptive, .delay_ns = 1'280 * ms});
  Reporter& reporter = *fixture.reporter;
  std::uint64_t now_ns = 1'000;
  for (unsigned count = 0; count < 32; ++count) {
    fixture.free_one(now_ns);
  }
  // Wanted again after 400 ms, all the time: it must not be let go.
  for (unsigned round = 0; round < 60; ++round, now_ns += 400 * ms) {
    reporter.note_time_locked(now_ns);
    std::vector<abi::Pfn> blocks;
    for (BuddyAllocation got = fixture.buddy.allocate({9}); got.ok();
         got = fixture.buddy.allocate({9})) {
      blocks.push_back(got.pfn);
    }
    reporter.note_time_locked(now_ns + ms);
    for (const abi::Pfn pfn : blocks) {
      REQUIRE(fixture.buddy.free(pfn, {9}) == FreeResult::ok);
    }
    reporter.note_time_locked(now_ns + 2 * ms);
  }
  REQUIRE(reporter.half_life_ns() == Cooling::never);
  REQUIRE(reporter.counters().bytes == 0);

  // Nothing but the time that it asked to be called at.
  const std::uint64_t idle_since_ns = now_ns;
  for (unsigned looks = 0; reporter.counters().bytes == 0; ++looks) {
    REQUIRE(looks < 1'000);
    const std::uint64_t next_ns = reporter.next_deadline_ns(0, now_ns);
    REQUIRE(next_ns != Reporter::never);
    REQUIRE(next_ns >= now_ns);
    now_ns = next_ns;
    reporter.note_time_locked(now_ns);
    if (reporter.due_locked(now_ns, Urgency::idle)) {
      static_cast<void>(fixture.submit(now_ns, Urgency::idle));
    }
  }
  CHECK(now_ns - idle_since_ns < 120'000 * ms);
}

TEST_CASE(
    "adaptive: small blocks that come and go are left alone, and a policy of large ones stays") {
  constexpr std::uint64_t ms = 1'000'000;
  for (const std::uint32_t order : {0U, 6U}) {
    CAPTURE(order);
    Fixture fixture({.order = order,
                     .batch = 64,
                     .strategy = abi::ReportStrategy::adaptive,
                     .delay_ns = 1'280 * ms});
    Reporter& reporter = *fixture.reporter;
    std::uint64_t now_ns = 1'000;
    const auto look = [&](std::uint64_t for_ns) {
      for (const std::uint64_t end_ns = now_ns + for_ns; now_ns < end_ns; now_ns += 5 * ms) {
        reporter.note_time_locked(now_ns);
        while (reporter.due_locked(now_ns, Urgency::idle) &&
               fixture.submit(now_ns, Urgency::idle) == SubmitResult::ring_doorbell) {
          fixture.host->serve([](abi::RangeDescriptor) { return abi::Outcome::discarded; });
          fixture.drain(now_ns);
        }
      }
    };
    // Sixteen blocks are free for good; of sixteen others every second page, again and again.
    for (unsigned count = 0; count < 32; ++count) {
      fixture.free_one(now_ns);
    }
    std::vector<abi::Pfn> pages;
    for (unsigned count = 0; count < 16 * huge_frames; ++count) {
      const BuddyAllocation page = fixture.buddy.allocate({0});
      REQUIRE(page.ok());
      pages.push_back(page.pfn);
    }
    std::ranges::sort(pages);
    std::uint64_t bytes_before = 0;
    for (unsigned round = 0; round < 60; ++round) {
      bytes_before = round == 50 ? reporter.counters().bytes : bytes_before;
      for (std::size_t index = 0; index < pages.size(); index += 2) {
        REQUIRE(fixture.buddy.free(pages[index], {0}) == FreeResult::ok);
      }
      look(300 * ms);
      for (std::size_t index = 0; index < pages.size(); index += 2) {
        const BuddyAllocation page = fixture.buddy.allocate({0});
        REQUIRE(page.ok());
        pages[index] = page.pfn;
      }
      look(10 * ms);
    }
    CHECK(fixture.buddy.report_order().value == order);
    CHECK(bytes_before >= 16 * huge_frames * abi::page_bytes);
    // Of the ten times that the small ones were free at the end, next to nothing.
    constexpr std::uint64_t small_bytes = 16 * huge_frames / 2 * abi::page_bytes;
    CHECK(reporter.counters().bytes - bytes_before < 10 * small_bytes / 20);
  }
}

TEST_CASE("adaptive: memory that pays at once goes at once") {
  Fixture fixture({.strategy = abi::ReportStrategy::adaptive, .delay_ns = 0});
  fixture.free_many(1);
  CHECK(fixture.reporter->half_life_ns() == 0);
  CHECK(fixture.reporter->due_locked(0, Urgency::idle));
}
