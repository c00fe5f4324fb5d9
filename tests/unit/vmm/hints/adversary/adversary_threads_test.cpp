// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/adversary.hpp"

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/driven_host.hpp"
#include "vmm/base/clock.hpp"

using namespace vmm;
using abi::Outcome;
using test_support::DrivenHost;
using test_support::HostPlan;
using test_support::plan_of;

TEST_CASE("batches beyond those that may be in hand are never looked at") {
  // Dropped ones keep their place.
  DrivenHost setup(plan_of(HostMode::sync, 1, {.drop = 1}));
  for (std::uint32_t batch = 0; batch < 3 * abi::ring_entries; ++batch) {
    setup.submit(batch, batch % abi::ring_entries);
    setup.serve();
  }
  CHECK(setup.answers() == 0);
  CHECK(setup.service->totals().protocol_errors == 2 * abi::ring_entries);
  CHECK(setup.service->totals().faults.dropped == abi::ring_entries);
}

TEST_CASE("a dropped batch is discarded late and again, and never answered") {
  DrivenHost setup(plan_of(HostMode::async, 1, {.drop = 1}));
  setup.mark(0);
  setup.submit(1, 0);
  setup.ring();
  while (setup.service->totals().late_discards < 1) {
    std::this_thread::yield();
  }
  CHECK_FALSE(setup.marked(0));
  setup.mark(0); // what a guest must not do
  while (setup.service->totals().late_discards < 3) {
    std::this_thread::yield();
  }
  setup.service->stop();
  CHECK_FALSE(setup.marked(0));
  CHECK(setup.answers() == 0);
}

TEST_CASE("a delayed answer does not hold up the next batch's taking") {
  DrivenHost setup(plan_of(HostMode::async, 1, {.delay_ns = 10'000'000}));
  const std::uint64_t start_ns = monotonic_ns();
  for (std::uint32_t page = 0; page < abi::ring_entries; ++page) {
    setup.submit(page, page);
    setup.ring();
  }
  setup.await_answers(abi::ring_entries);
  CHECK(monotonic_ns() - start_ns >= 10'000'000); // never early
  setup.service->stop();
  const HintTotals totals = setup.service->totals();
  CHECK(totals.faults.delayed == abi::ring_entries);
  CHECK(totals.channels[0].latency.counts[0] == 0);
}

TEST_CASE("a synchronous host delays on the vCPU thread unless the guest takes late answers") {
  DrivenHost old(plan_of(HostMode::sync, 1, {.delay_ns = 1'000'000, .reorder = true}), 1,
                 abi::feature_report);
  old.submit(1, 0);
  old.serve();
  CHECK(old.answers() == 1);

  DrivenHost now(plan_of(HostMode::sync, 1, {.delay_ns = 1'000'000}));
  now.submit(1, 0);
  now.serve();
  now.await_answers(1);
}

TEST_CASE("stopping leaves postponed batches untouched and unanswered") {
  DrivenHost setup(plan_of(HostMode::sync, 1, {.delay_ns = max_fault_delay_ns}));
  setup.mark(0);
  setup.submit(1, 0);
  setup.serve();
  setup.service->stop();
  CHECK(setup.answers() == 0);
  CHECK(setup.marked(0));
}

TEST_CASE("a reordered answer is overtaken by the next, and comes by itself without one") {
  DrivenHost setup(plan_of(HostMode::async, 1, {.reorder = true}));
  setup.submit(1, 0);
  setup.submit(2, 1);
  setup.ring();
  setup.await_answers(2);
  if (setup.service->totals().faults.reordered == 1) { // the second came soon enough
    CHECK(setup.answer(0).batch_id == 2);
    CHECK(setup.answer(1).batch_id == 1);
  }
  setup.submit(3, 0);
  setup.ring();
  setup.await_answers(3);
  CHECK(setup.answer(2).batch_id == 3);
}

TEST_CASE("a repeated answer says the same and leaves room for first ones") {
  DrivenHost setup(plan_of(HostMode::sync, 1, {.duplicate = 1}));
  for (std::uint32_t batch = 0; batch < abi::ring_entries; ++batch) {
    setup.submit(100 + batch, batch);
    setup.serve();
  }
  const HintTotals totals = setup.service->totals();
  CHECK(totals.faults.duplicated > 0);
  CHECK(setup.answers() == abi::ring_entries + totals.faults.duplicated);
  CHECK(setup.answers() <= abi::completion_entries);
  std::set<std::uint64_t> ids;
  for (std::uint32_t number = 0; number < setup.answers(); ++number) {
    ids.insert(setup.answer(number).batch_id);
  }
  CHECK(ids.size() == abi::ring_entries);
  CHECK(totals.protocol_errors == 0);
}

TEST_CASE("partly declined batches leave exactly those ranges alone") {
  DrivenHost setup(plan_of(HostMode::sync, 1, {.partial = 0.5}));
  constexpr std::uint32_t ranges = 30;
  for (std::uint32_t range = 0; range < ranges; ++range) {
    setup.mark(0, range);
  }
  setup.submit(1, 0, ranges);
  setup.serve();
  std::uint64_t declined = 0;
  for (std::uint32_t range = 0; range < ranges; ++range) {
    CAPTURE(range);
    const bool kept = setup.answer(0).outcome(range) == Outcome::declined;
    declined += kept ? 1U : 0U;
    CHECK(setup.marked(0, range) == kept);
  }
  CHECK(declined > 0);
  CHECK(declined < ranges);
  CHECK(setup.service->totals().faults.partial_ranges == declined);
}

TEST_CASE("declined and failed batches are answered so, and nothing is done") {
  for (const auto& [faults, outcome] : {std::pair{FaultOptions{.decline = 1}, Outcome::declined},
                                        std::pair{FaultOptions{.fail = 1}, Outcome::failed}}) {
    DrivenHost setup(plan_of(HostMode::sync, 1, faults));
    setup.mark(0);
    setup.submit(1, 0);
    setup.serve();
    REQUIRE(setup.answers() == 1);
    CHECK(setup.answer(0).outcome(0) == outcome);
    CHECK(setup.marked(0));
    CHECK(setup.service->totals().discarded_bytes == 0);
  }
}

TEST_CASE("answers changed by hand are carried out and counted, range by range or whole") {
  // The first batch as it is, then single ranges, then one against a plan that drops everything.
  HostPlan plan = plan_of(HostMode::sync);
  plan.by_hand = [](const Batch& batch, BatchFaults& faults) {
    CHECK(faults == BatchFaults{});
    if (batch.submission.batch_id == 2) {
      faults.ranges.emplace();
      faults.ranges->declined.set(1);
      faults.ranges->failed.set(2);
    } else if (batch.submission.batch_id == 3) {
      faults.fate = Fate::fail;
    }
  };
  DrivenHost setup(plan, 1, abi::feature_report);
  constexpr std::uint32_t ranges = 4;
  for (std::uint32_t batch = 0; batch < 3; ++batch) {
    for (std::uint32_t range = 0; range < ranges; ++range) {
      setup.mark(batch, range);
    }
    setup.submit(batch + 1, batch, ranges);
    setup.serve();
    setup.consume(batch + 1);
  }
  const auto outcomes = [&setup](std::uint32_t batch) {
    std::vector<Outcome> found;
    for (std::uint32_t range = 0; range < ranges; ++range) {
      found.push_back(setup.answer(batch).outcome(range));
      CHECK(setup.marked(batch, range) == (found.back() != Outcome::discarded));
    }
    return found;
  };
  CHECK(outcomes(0) == std::vector(ranges, Outcome::discarded));
  CHECK(outcomes(1) ==
        std::vector{Outcome::discarded, Outcome::declined, Outcome::failed, Outcome::discarded});
  CHECK(outcomes(2) == std::vector(ranges, Outcome::failed));
  const HintTotals totals = setup.service->totals();
  CHECK(totals.faults.partial_ranges == 2);
  CHECK(totals.faults.failed == 1);
  CHECK(totals.batches == 3);
}

TEST_CASE("what the plan would do, a hand can undo, and a delay by hand is carried out anywhere") {
  for (const HostMode mode : {HostMode::sync, HostMode::async}) {
    const std::uint64_t features =
        mode == HostMode::sync ? abi::feature_report : abi::feature_report | abi::feature_async;
    HostPlan plan = plan_of(mode, 1, {.drop = 1});
    plan.by_hand = [](const Batch&, BatchFaults& faults) {
      CHECK(faults.fate == Fate::drop);
      faults = {.delay_ns = 1'000'000};
    };
    DrivenHost setup(plan, 1, features);
    setup.mark(0);
    setup.submit(1, 0);
    mode == HostMode::sync ? setup.serve() : setup.ring();
    setup.await_answers(1);
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
    CHECK_FALSE(setup.marked(0));
    const FaultCounters faults = setup.service->totals().faults;
    CHECK(faults.dropped == 0);
    CHECK(faults.delayed == 1);
  }
}

// No plan postpones anything here: the hand alone does.
TEST_CASE("a delay by hand on a host without a fault plan is carried out") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    HostPlan plan = plan_of(mode);
    plan.by_hand = [](const Batch&, BatchFaults& faults) { faults.delay_ns = 1'000'000; };
    DrivenHost setup(plan, 1, abi::feature_report | abi::feature_async);
    setup.submit(1, 0);
    setup.ring();
    // Bounds a failing test only.
    for (const std::uint64_t end = monotonic_ns() + 20'000'000'000;
         setup.answers() == 0 && monotonic_ns() < end;) {
      std::this_thread::yield();
    }
    REQUIRE(setup.answers() == 1);
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
    setup.service->stop();
    CHECK(setup.service->totals().faults.delayed == 1);
  }
}

TEST_CASE("the end of the guest ends the delay of a synchronous answer") {
  const UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  HostPlan plan = plan_of(HostMode::sync, 1, {.delay_ns = max_fault_delay_ns});
  plan.stop_fd = stop.get();
  DrivenHost setup(plan, 1, abi::feature_report);
  setup.submit(1, 0);
  setup.submit(2, 1);
  const std::uint64_t start_ns = monotonic_ns();
  std::jthread vcpu([&setup] { setup.serve(); });
  while (setup.service->totals().batches == 0) {
    std::this_thread::yield(); // until it is about to wait
  }
  REQUIRE(::eventfd_write(stop.get(), 1) == 0);
  vcpu.join();
  CHECK(monotonic_ns() - start_ns < max_fault_delay_ns); // of either
  CHECK(setup.answers() == 2);
}

TEST_CASE("a batch that a hand holds up keeps nobody else's channel waiting") {
  std::atomic<unsigned> held{0};
  std::atomic<bool> release{false};
  HostPlan plan = plan_of(HostMode::sync);
  plan.by_hand = [&](const Batch& batch, BatchFaults&) {
    if (batch.channel == 0) {
      ++held;
      release.wait(false);
    }
  };
  DrivenHost setup(plan, 2, abi::feature_report);
  setup.submit(1, 0, 1, 0);
  std::jthread vcpu([&] { setup.serve(0); });
  while (held == 0) {
    std::this_thread::yield();
  }
  setup.submit(1, 0, 1, 1);
  setup.serve(1);
  CHECK(setup.answers(1) == 1);
  CHECK(setup.service->totals().batches == 2); // and totals can be read meanwhile
  CHECK(setup.answers(0) == 0);
  release = true;
  release.notify_all();
  vcpu.join();
  CHECK(setup.answers(0) == 1);
}

TEST_CASE("totals can be read while everything is moving") {
  DrivenHost setup(
      plan_of(HostMode::poll, 2, {.delay_ns = 100'000, .duplicate = 0.5, .partial = 0.5}));
  std::atomic<bool> done{false};
  std::uint64_t seen = 0;
  std::jthread reader([&] {
    while (!done) {
      const std::uint64_t now = setup.service->totals().batches;
      CHECK(now >= seen);
      seen = now;
      std::this_thread::yield(); // or the workers hardly get at the port's lock
    }
  });
  std::uint32_t consumed = 0;
  for (std::uint32_t batch = 0; batch < 200; ++batch) {
    if (setup.submit(batch + 1, batch % abi::ring_entries, 8)) {
      setup.ring();
    }
    // Until this batch's first answer; repeated ones come on top.
    for (bool answered = false; !answered;) {
      const std::uint32_t tail = setup.answers();
      for (; consumed != tail; ++consumed) {
        answered = answered || setup.answer(consumed).batch_id == batch + 1;
      }
      setup.consume(consumed);
    }
  }
  done = true;
  reader.join();
  CHECK(setup.service->totals().batches == 200);
  CHECK(setup.service->totals().ranges <= 1600);
}
