// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/reporter.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/reporter_fixture.hpp"

namespace {

using namespace guest::mm;
using test_support::block_frames;
using test_support::discard_all;
using test_support::FakeReportHost;
using test_support::huge_frames;
using test_support::TakenBatch;
using Fixture = test_support::ReporterFixture;

} // namespace

TEST_CASE("a full batch is due beyond the reserve, and not one frame earlier") {
  Fixture fixture({.batch = 4, .keep_bytes = 2 * huge_frames * abi::page_bytes});
  fixture.free_many(5);
  CHECK_FALSE(fixture.reporter->due_locked(0, Urgency::busy));
  fixture.free_many(1);
  CHECK(fixture.reporter->due_locked(0, Urgency::busy));
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  const auto batches = fixture.host->take();
  REQUIRE(batches.size() == 1);
  CHECK(batches[0].entry.range_count == 4);
  CHECK(fixture.buddy.fresh_frames() == 2 * huge_frames);
  CHECK(fixture.submit() == SubmitResult::nothing);
}

TEST_CASE("a policy that is off reports nothing") {
  Fixture fixture({.enabled = 0, .batch = 1});
  fixture.free_many(8);
  CHECK_FALSE(fixture.reporter->due_locked(~std::uint64_t{0} - 1, Urgency::now));
  CHECK(fixture.submit() == SubmitResult::nothing);
  CHECK(fixture.reporter->next_deadline_ns(0, 0) == Reporter::never);
}

TEST_CASE("policy values out of range are clamped") {
  Fixture fixture({.order = 77, .batch = 0});
  CHECK(fixture.buddy.report_order() == abi::Order{abi::max_order});
  Fixture many({.order = 9, .batch = 100'000});
  many.free_many(64);
  CHECK_FALSE(many.reporter->due_locked(0, Urgency::busy));
}

TEST_CASE("partial batches: age counts from when the surplus appeared") {
  Fixture fixture({.batch = 4, .delay_ns = 1000});
  CHECK(fixture.reporter->next_deadline_ns(0, 0) == Reporter::never);
  fixture.free_one(500);
  fixture.free_one(900); // does not make it younger
  CHECK(fixture.reporter->next_deadline_ns(0, 900) == 1500);
  CHECK_FALSE(fixture.reporter->due_locked(1499, Urgency::idle));
  CHECK(fixture.reporter->due_locked(1500, Urgency::idle));
  CHECK_FALSE(fixture.reporter->due_locked(1500, Urgency::busy));
  CHECK_FALSE(fixture.reporter->due_locked(400, Urgency::idle)); // a clock that steps back
  CHECK(fixture.reporter->due_locked(500 + Reporter::busy_partial_age_ns, Urgency::busy));
  CHECK(fixture.submit(2000) == SubmitResult::ring_doorbell);
  CHECK(fixture.reporter->next_deadline_ns(0, 2000) == Reporter::never);
  fixture.free_one(7000);
  CHECK(fixture.reporter->next_deadline_ns(0, 7000) == 8000);
}

TEST_CASE("what a submission leaves over starts to age anew") {
  Fixture fixture({.batch = 2});
  fixture.free_many(3);
  CHECK(fixture.submit(Reporter::busy_partial_age_ns) == SubmitResult::ring_doorbell);
  CHECK_FALSE(fixture.reporter->due_locked(Reporter::busy_partial_age_ns + 1, Urgency::busy));
  CHECK(fixture.reporter->due_locked(2 * Reporter::busy_partial_age_ns, Urgency::busy));
}

TEST_CASE("a reserve that blocks a whole block does not keep the reporter busy") {
  Fixture fixture({.batch = 1, .keep_bytes = (huge_frames / 2) * abi::page_bytes});
  fixture.free_one();
  CHECK(fixture.reporter->due_locked(0, Urgency::idle));
  CHECK(fixture.submit() == SubmitResult::nothing);
  CHECK_FALSE(fixture.reporter->due_locked(0, Urgency::idle));
  CHECK(fixture.reporter->next_deadline_ns(0, 0) == Reporter::never);
  fixture.free_one();
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
}

TEST_CASE("synchronous host: one submission, one drain") {
  Fixture fixture({.batch = 4});
  fixture.free_many(4);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  CHECK(fixture.reporter->awaited_batches() == 1);
  CHECK(fixture.buddy.isolated_frames() * abi::page_bytes == 4 * huge_frames * abi::page_bytes);
  CHECK(fixture.host->serve(discard_all) == 1);
  CHECK(fixture.drain() == 1);
  CHECK(fixture.drain() == 0);
  CHECK(fixture.reporter->awaited_batches() == 0);
  CHECK(fixture.buddy.isolated_frames() * abi::page_bytes == 0);
  CHECK(fixture.rings().complete_head == 1);
  const ReporterCounters& counters = fixture.reporter->counters();
  CHECK(counters.batches == 1);
  CHECK(counters.ranges == 4);
  CHECK(counters.spans == 0);
  CHECK(counters.bytes == 4 * huge_frames * abi::page_bytes);
  CHECK(counters.discarded_ranges == 4);
  CHECK(counters.max_in_flight_bytes == 4 * huge_frames * abi::page_bytes);
  CHECK(counters.ignored_answers == 0);
}

TEST_CASE("a full channel postpones, loses nothing, and recovers") {
  Fixture fixture({.batch = 1});
  fixture.free_many(abi::ring_entries + 3);
  for (unsigned batch = 0; batch < abi::ring_entries; ++batch) {
    CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  }
  CHECK(fixture.submit() == SubmitResult::busy);
  auto batches = fixture.host->take();
  REQUIRE(batches.size() == abi::ring_entries);
  // Taken but not answered: the descriptor pages are still in use.
  CHECK(fixture.submit() == SubmitResult::busy);
  CHECK(fixture.reporter->counters().busy == 2);
  CHECK(fixture.buddy.fresh_frames() == 3 * huge_frames);
  CHECK(fixture.reporter->next_deadline_ns(0, 77) == 77 + Reporter::busy_retry_ns);
  // The page of the third batch becomes free first.
  fixture.host->post(FakeReportHost::answer_to(batches[2], discard_all));
  CHECK(fixture.drain() == 1);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  const auto next = fixture.host->take();
  REQUIRE(next.size() == 1);
  CHECK(next[0].entry.page == batches[2].entry.page);
  CHECK(next[0].entry.batch_id > batches.back().entry.batch_id);
  CHECK(fixture.submit() == SubmitResult::busy);
}

TEST_CASE("a submit_head from nowhere makes the ring full, not writable") {
  Fixture fixture({.batch = 1});
  fixture.free_many(1);
  for (const std::uint32_t head : {1U, 100U, ~abi::ring_entries}) {
    fixture.rings().submit_head = head;
    CHECK(fixture.submit() == SubmitResult::busy);
  }
  CHECK(fixture.buddy.fresh_frames() == huge_frames);
}

TEST_CASE("no doorbell is wanted while the host watches") {
  Fixture fixture({.batch = 1});
  fixture.free_many(2);
  fixture.rings().no_doorbell = 1;
  CHECK(fixture.submit() == SubmitResult::submitted);
  fixture.rings().no_doorbell = 0;
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
}

TEST_CASE("an interrupt is armed only when nothing has arrived") {
  Fixture fixture({.batch = 1});
  fixture.free_many(1);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  CHECK(fixture.reporter->arm_interrupt_locked(0));
  CHECK(fixture.rings().want_interrupt == 1);
  fixture.host->serve(discard_all);
  CHECK_FALSE(fixture.reporter->arm_interrupt_locked(0));
  CHECK(fixture.rings().want_interrupt == 0);
  CHECK(fixture.drain() == 1);
  CHECK(fixture.reporter->arm_interrupt_locked(0));
  fixture.reporter->disarm_interrupt_locked(0);
  CHECK(fixture.rings().want_interrupt == 0);
}

TEST_CASE("answers that fit nothing in flight are counted and ignored") {
  Fixture fixture({.batch = 2});
  fixture.free_many(2);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  const auto batches = fixture.host->take();
  const abi::CompletionEntry right = FakeReportHost::answer_to(batches.at(0), discard_all);
  std::vector<abi::CompletionEntry> wrong(6, right);
  wrong[0].batch_id += 1;
  wrong[1].batch_id = 0;
  wrong[2].page = (right.page + 1) % abi::ring_entries;
  wrong[3].page = abi::ring_entries;
  wrong[4].page = ~std::uint32_t{0};
  wrong[5].range_count -= 1;
  for (const abi::CompletionEntry& answer : wrong) {
    fixture.host->post(answer);
  }
  // An idle page must not accept an answer with the id that means "idle".
  abi::CompletionEntry idle_page = right;
  idle_page.batch_id = 0;
  idle_page.page = (right.page + 1) % abi::ring_entries;
  idle_page.range_count = 0;
  fixture.host->post(idle_page);
  CHECK(fixture.drain() == 0);
  CHECK(fixture.reporter->counters().ignored_answers == 7);
  CHECK(fixture.buddy.isolated_frames() == 2 * huge_frames);
  CHECK(fixture.rings().complete_head == 7);

  fixture.host->post(right);
  fixture.host->post(right); // repeated
  CHECK(fixture.drain() == 1);
  CHECK(fixture.reporter->counters().ignored_answers == 8);
  CHECK(fixture.buddy.isolated_frames() == 0);

  // Late: the page is in use for a newer batch by now.
  fixture.free_many(2);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  REQUIRE(fixture.host->take().at(0).entry.page == right.page);
  fixture.host->post(right);
  CHECK(fixture.drain() == 0);
  CHECK(fixture.buddy.isolated_frames() == 2 * huge_frames);
  CHECK(fixture.reporter->counters().ignored_answers == 9);
}

TEST_CASE("a completion index beyond the ring is survived, in bounded work") {
  Fixture fixture({.batch = 1});
  fixture.free_many(1);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  const auto batches = fixture.host->take();
  fixture.rings().complete_tail = 1000;
  CHECK(fixture.drain() == 0);
  CHECK(fixture.rings().complete_head == 1000);
  CHECK(fixture.reporter->counters().ignored_answers == 1 + abi::completion_entries);
  // The host gathers itself and goes on from there.
  FakeReportHost again(fixture.channels[0]);
  again.post(FakeReportHost::answer_to(batches.at(0), discard_all));
  CHECK(fixture.drain() == 1);
}

TEST_CASE("undefined outcomes and failures leave the range declined") {
  Fixture fixture({.batch = 3});
  fixture.free_many(3);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  abi::CompletionEntry answer = FakeReportHost::answer_to(fixture.host->take().at(0), discard_all);
  answer.set_outcome(1, abi::Outcome::failed);
  answer.outcomes[0] |= 3U << 4; // range 2: undefined
  fixture.host->post(answer);
  CHECK(fixture.drain() == 1);
  CHECK(fixture.reporter->counters().discarded_ranges == 1);
  CHECK(fixture.reporter->counters().failed_ranges == 1);
  CHECK(fixture.reporter->counters().declined_ranges == 1);
  CHECK(fixture.buddy.answered_frames() == 3 * huge_frames);
  CHECK(fixture.submit() == SubmitResult::nothing);
}

TEST_CASE("indices wrap around; answers come out of order, twice, or never") {
  // Starts shortly before 2^32.
  Fixture fixture({.batch = 2}, ~std::uint32_t{0} - 5, 512);
  std::mt19937_64 random(7);
  std::vector<TakenBatch> pending;
  std::vector<TakenBatch> dropped;
  std::uint64_t answered = 0;
  std::uint64_t repeated = 0;
  std::vector<std::uint64_t> ids;
  for (unsigned round = 0; round < 220; ++round) {
    fixture.free_many(2);
    const SubmitResult result = fixture.submit();
    REQUIRE(result != SubmitResult::nothing);
    for (const TakenBatch& batch : fixture.host->take()) {
      ids.push_back(batch.entry.batch_id);
      pending.push_back(batch);
    }
    if (round == 50) {
      dropped.push_back(pending.back());
      pending.pop_back();
    }
    while (!pending.empty() && (result == SubmitResult::busy || random() % 3 == 0)) {
      std::swap(pending[random() % pending.size()], pending.back());
      const abi::CompletionEntry answer =
          FakeReportHost::answer_to(pending.back(), [&](abi::RangeDescriptor) {
            return static_cast<abi::Outcome>(random() % 3);
          });
      pending.pop_back();
      fixture.host->post(answer);
      if (random() % 2 == 0) {
        fixture.host->post(answer);
        ++repeated;
      }
      REQUIRE(fixture.drain() == 1);
      ++answered;
    }
  }
  CHECK(fixture.rings().submit_tail < 1000);   // wrapped
  CHECK(fixture.rings().complete_head < 1000); // wrapped
  CHECK(std::is_sorted(ids.begin(), ids.end()));
  CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
  CHECK(fixture.reporter->counters().ignored_answers == repeated);
  CHECK(fixture.reporter->counters().batches == answered + pending.size() + dropped.size());
  CHECK(fixture.reporter->awaited_batches() == pending.size() + dropped.size());
  CHECK(fixture.buddy.isolated_frames() == 2 * huge_frames * (pending.size() + dropped.size()));
  CHECK(fixture.buddy.redundant_frames() == 0);
}

// ---- timeout and quarantine --------------------------------------------------------------------

TEST_CASE("an overdue batch is quarantined at its time, not a nanosecond earlier") {
  Fixture fixture({.batch = 1}, 0, 64, 1000);
  Reporter& reporter = *fixture.reporter;
  fixture.free_many(2);
  CHECK(fixture.submit(100) == SubmitResult::ring_doorbell);
  CHECK(fixture.submit(400) == SubmitResult::ring_doorbell);
  CHECK(reporter.next_deadline_ns(0, 500) == 1100);
  reporter.expire_locked(1099);
  CHECK(reporter.awaited_batches() == 2);
  CHECK(reporter.quarantined_frames() == 0);
  reporter.expire_locked(1100);
  CHECK(reporter.awaited_batches() == 1);
  CHECK(reporter.quarantined_frames() == huge_frames);
  CHECK(reporter.next_deadline_ns(0, 1100) == 1400);
  reporter.expire_locked(1400);
  CHECK(reporter.awaited_batches() == 0);
  CHECK(reporter.quarantined_frames() == 2 * huge_frames);
  CHECK(reporter.next_deadline_ns(0, 1400) == Reporter::never);
  CHECK(fixture.buddy.isolated_frames() == 2 * huge_frames);
}

TEST_CASE("a late answer ends a quarantine, its repetition changes nothing") {
  Fixture fixture({.batch = 2}, 0, 64, 1000);
  fixture.free_many(2);
  CHECK(fixture.submit(0) == SubmitResult::ring_doorbell);
  const auto batches = fixture.host->take();
  fixture.reporter->expire_locked(5000);
  const abi::CompletionEntry late = FakeReportHost::answer_to(batches.at(0), discard_all);
  fixture.host->post(late);
  fixture.host->post(late);
  CHECK(fixture.drain(6000) == 1);
  CHECK(fixture.reporter->counters().late_answers == 1);
  CHECK(fixture.reporter->counters().ignored_answers == 1);
  CHECK(fixture.reporter->quarantined_frames() == 0);
  CHECK(fixture.reporter->awaited_batches() == 0);
  CHECK(fixture.buddy.isolated_frames() == 0);
  CHECK(fixture.latency.counts[abi::LatencyHistogram::bucket_of(6000)] == 1);
}

TEST_CASE("without a timeout nothing is ever overdue") {
  Fixture fixture({.batch = 1});
  fixture.free_many(1);
  CHECK(fixture.submit(7) == SubmitResult::ring_doorbell);
  fixture.reporter->expire_locked(Reporter::never - 1);
  CHECK(fixture.reporter->awaited_batches() == 1);
  CHECK(fixture.reporter->next_deadline_ns(0, 7) == Reporter::never);
}

TEST_CASE("a timeout near the end of time does not wrap around") {
  Fixture fixture({.batch = 1}, 0, 64, Reporter::never - 5);
  fixture.free_many(1);
  CHECK(fixture.submit(100) == SubmitResult::ring_doorbell);
  fixture.reporter->expire_locked(101);
  CHECK(fixture.reporter->awaited_batches() == 1);
}

TEST_CASE("a channel full of quarantined batches is not polled") {
  Fixture fixture({.batch = 1}, 0, 64, 1000);
  fixture.free_many(abi::ring_entries + 1);
  for (unsigned batch = 0; batch < abi::ring_entries; ++batch) {
    CHECK(fixture.submit(0) == SubmitResult::ring_doorbell);
  }
  const auto batches = fixture.host->take();
  CHECK(fixture.reporter->next_deadline_ns(0, 10) == 1000); // overdue before the next look
  fixture.reporter->expire_locked(1000);
  CHECK(fixture.submit(1001) == SubmitResult::busy);
  CHECK(fixture.reporter->next_deadline_ns(0, 1001) == Reporter::never);
  fixture.host->post(FakeReportHost::answer_to(batches.at(3), discard_all));
  CHECK(fixture.drain(1002) == 1);
  CHECK(fixture.reporter->next_deadline_ns(0, 1002) == 1002);
}

// ---- re-tuning ---------------------------------------------------------------------------------

TEST_CASE("retuning: off and on again, another order, what is in flight comes back") {
  Fixture fixture({.batch = 2});
  Reporter& reporter = *fixture.reporter;
  fixture.free_many(4);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  reporter.retune_locked({.policy = {.enabled = 0}}, 0);
  CHECK_FALSE(reporter.due_locked(Reporter::never - 1, Urgency::now));
  fixture.host->serve(discard_all);
  CHECK(fixture.drain() == 1);
  CHECK(fixture.buddy.isolated_frames() == 0);
  reporter.retune_locked({.policy = {.order = 10, .batch = 1}}, 0);
  CHECK_FALSE(reporter.due_locked(0, Urgency::now)); // only blocks of order 9 are fresh
  reporter.retune_locked({.policy = {.order = 3, .batch = 2}}, 0);
  CHECK(reporter.due_locked(0, Urgency::busy));
  reporter.retune_locked({.policy = {.batch = 2, .keep_bytes = huge_frames * abi::page_bytes}}, 0);
  CHECK_FALSE(reporter.due_locked(0, Urgency::busy));
  CHECK(reporter.due_locked(0, Urgency::now));
}

TEST_CASE("retuning the timeout holds for what is in flight; quarantine stays quarantine") {
  Fixture fixture({.batch = 1});
  Reporter& reporter = *fixture.reporter;
  fixture.free_many(2);
  CHECK(fixture.submit(100) == SubmitResult::ring_doorbell);
  reporter.retune_locked({.policy = {.batch = 1}, .timeout_ns = 1000}, 200);
  CHECK(reporter.next_deadline_ns(0, 200) == 200); // the second block is due
  CHECK(fixture.submit(900) == SubmitResult::ring_doorbell);
  CHECK(reporter.next_deadline_ns(0, 900) == 1100);
  reporter.expire_locked(1100);
  CHECK(reporter.quarantined_frames() == huge_frames);
  reporter.retune_locked({.policy = {.batch = 1}, .timeout_ns = 0}, 1200);
  reporter.expire_locked(1'000'000);
  CHECK(reporter.quarantined_frames() == huge_frames);
  CHECK(reporter.awaited_batches() == 1);
}

TEST_CASE("a strategy of a newer host is taken as batch") {
  // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): the host may be newer
  Fixture fixture({.batch = 2, .strategy = static_cast<abi::ReportStrategy>(77)});
  CHECK(fixture.reporter->strategy() == abi::ReportStrategy::batch);
}

// ---- strategies --------------------------------------------------------------------------------

TEST_CASE("counters of a channel tell which submissions needed a doorbell") {
  Fixture fixture({.batch = 2});
  fixture.free_many(4);
  CHECK(fixture.submit() == SubmitResult::ring_doorbell);
  fixture.rings().no_doorbell = 1;
  CHECK(fixture.submit() == SubmitResult::submitted);
  CHECK(fixture.reporter->counters(0).batches == 2);
  CHECK(fixture.reporter->counters(0).ranges == 4);
  CHECK(fixture.reporter->counters(0).bytes == 4 * huge_frames * abi::page_bytes);
  CHECK(fixture.reporter->counters(0).suppressed_doorbells == 1);
  CHECK(fixture.reporter->counters().suppressed_doorbells == 1);
}
