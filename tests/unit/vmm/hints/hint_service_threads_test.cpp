// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_service.hpp"

#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/driven_host.hpp"
#include "vmm/base/clock.hpp"

using namespace vmm;
using abi::Outcome;
using test_support::DrivenHost;
using test_support::plan_of;

TEST_CASE("a guest that takes no late answers is served synchronously, whatever the mode") {
  for (const HostMode mode : {HostMode::sync, HostMode::async, HostMode::poll}) {
    DrivenHost setup(plan_of(mode), 1, abi::feature_report);
    CHECK(setup.service->mode() == HostMode::sync);
    setup.mark(0);
    CHECK(setup.submit(1, 0));
    setup.serve();
    CHECK(setup.answers() == 1);
    CHECK_FALSE(setup.marked(0));
    setup.serve(17); // no such channel
  }
}

TEST_CASE("a synchronous host counts the rings that it serves") {
  DrivenHost setup(plan_of(HostMode::sync), 2);
  setup.submit(1, 0);
  setup.serve();
  setup.serve(); // for nothing, but it rang
  setup.serve(1);
  const HintTotals totals = setup.service->totals();
  CHECK(totals.doorbells == 3);
  CHECK(totals.channels[0].doorbells == 2);
  CHECK(totals.channels[1].doorbells == 1);
}

// What the observer may do by the frame happens where no channel waits for it.
TEST_CASE("a batch is settled before its answer, once, and one without an answer never") {
  struct Watcher final : HintObserver {
    void on_settled(const Batch& batch) override {
      settled.push_back(batch.submission.batch_id);
      outcome = batch.answer.outcome(0);
    }
    void on_answer(const Batch& batch) override {
      settled_before_answer = !settled.empty() && settled.back() == batch.submission.batch_id;
    }
    std::vector<std::uint64_t> settled;
    Outcome outcome = Outcome::failed;
    bool settled_before_answer = false;
  };
  for (const double drop : {0.0, 1.0}) {
    Watcher watcher;
    DrivenHost setup({.faults = {.drop = drop}, .observer = &watcher});
    setup.submit(1, 0);
    setup.serve();
    CHECK(watcher.settled.size() == (drop == 0 ? 1 : 0));
    CHECK(watcher.settled_before_answer == (drop == 0));
    CHECK((watcher.outcome == Outcome::discarded) == (drop == 0));
    setup.service->stop();
  }
}

TEST_CASE("a doorbell by exit reaches the workers, too") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    DrivenHost setup(plan_of(mode));
    CHECK(setup.service->mode() == mode);
    setup.submit(1, 0);
    setup.serve();
    setup.await_answers(1);
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
  }
}

TEST_CASE("two workers finish batches of one channel out of order") {
  DrivenHost setup(plan_of(HostMode::async, 2));
  setup.calls.close();
  setup.submit(1, 0);
  setup.ring();
  setup.calls.await_waiting(1); // one worker holds batch 1
  setup.submit(2, 1);
  setup.ring();
  setup.calls.await_waiting(2); // the other one batch 2
  CHECK(setup.answers() == 0);
  setup.calls.allow();
  setup.await_answers(1);
  const std::uint64_t first = setup.answer(0).batch_id;
  setup.calls.allow();
  setup.await_answers(2);
  CHECK(first + setup.answer(1).batch_id == 3); // each once, in whichever order
  CHECK(setup.service->totals().channels[0].max_held == 2);
}

TEST_CASE("one worker's batch does not keep others from being taken together") {
  DrivenHost setup(plan_of(HostMode::async, 2));
  setup.calls.close();
  setup.submit(1, 0);
  setup.submit(2, 1);
  setup.ring(); // once for both: the first worker wakes the second
  setup.calls.await_waiting(2);
  setup.calls.open();
  setup.await_answers(2);
}

TEST_CASE("stopping while workers are busy finishes what they hold, and no more") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    DrivenHost setup(plan_of(mode, 1));
    setup.calls.close();
    setup.submit(1, 0);
    setup.submit(2, 1);
    setup.ring();
    setup.calls.await_waiting(1);
    std::jthread stopper([&setup] { setup.service->stop(); });
    setup.calls.allow();
    setup.calls.open();
    stopper.join();
    const std::uint32_t answered = setup.answers();
    CHECK(answered >= 1); // the second may have been taken before the stop was seen
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
    setup.submit(3, 2);
    setup.serve();
    CHECK(setup.answers() == answered);
    setup.service->stop();
  }
}

TEST_CASE("an idle host stops at once") {
  for (const HostMode mode : {HostMode::sync, HostMode::async, HostMode::poll}) {
    const DrivenHost setup(plan_of(mode, 4), 4);
    setup.service->stop();
    CHECK(setup.service->totals().batches == 0);
  }
}

// The guest rings only when asked to, and waits for each answer before it goes on: a single lost
// wake-up hangs the test. Pauses of every length around the polling host's pause before it sleeps
// are tried.
TEST_CASE("no doorbell and no interrupt is lost") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    for (const unsigned workers : {1U, 3U}) {
      constexpr unsigned guests = 2;
      DrivenHost setup(plan_of(mode, workers), guests);
      std::array<unsigned, guests> rings{};
      {
        std::vector<std::jthread> threads;
        threads.reserve(guests);
        for (unsigned index = 0; index < guests; ++index) {
          threads.emplace_back([&setup, &rings, index] {
            for (std::uint32_t batch = 0; batch < 600; ++batch) {
              if (setup.submit(batch + 1, batch % abi::ring_entries, 1, index)) {
                ++rings[index];
                REQUIRE(::eventfd_write(setup.service->doorbell_fd(index), 1) == 0);
              }
              setup.await_answers(batch + 1, index);
              REQUIRE(setup.answer(batch, index).batch_id == batch + 1);
              setup.consume(batch + 1, index);
              const std::uint64_t pause_ns = batch % 4 == 0 ? HintWorkers::spin_ns - 20'000 +
                                                                  std::uint64_t{1000} * (batch % 61)
                                                            : 0;
              for (const std::uint64_t end = monotonic_ns() + pause_ns; monotonic_ns() < end;) {
              }
            }
          });
        }
      }
      const HintTotals totals = setup.service->totals();
      CHECK(totals.batches == guests * 600);
      CHECK(totals.protocol_errors == 0);
      for (unsigned index = 0; index < guests; ++index) {
        // The host tells at another moment than the guest looks, but all batches add up.
        CHECK(totals.channels[index].batches == 600);
        CHECK(rings[index] >= (mode == HostMode::async ? 600 : 0));
      }
      CHECK((totals.doorbells_suppressed == 0) == (mode == HostMode::async));
    }
  }
}

// The moment that decides, made certain: a worker has looked and found nothing, and the guest
// submits before the worker sleeps.
TEST_CASE("a batch that comes between the last look and sleep is found") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    auto channel = std::make_unique<abi::Channel>();
    HintWorkers::Ports ports;
    ports.push_back(std::make_unique<HintPort>(0, *channel,
                                               UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))));
    bool submitted = false;
    std::atomic<bool> found{false};
    const auto serve = [&](unsigned, HintPort& port) {
      if (const HintPort::Taken taken = port.take(); taken.held != nullptr) {
        found = true;
        return true;
      }
      if (!submitted) {
        submitted = true;
        // From now on a polling worker has been idle for long enough to sleep.
        for (const std::uint64_t end = monotonic_ns() + 2 * HintWorkers::spin_ns;
             monotonic_ns() < end;) {
        }
        channel->rings.submissions[0] = {.batch_id = 1, .page = 0, .range_count = 1};
        std::atomic_ref(channel->rings.submit_tail).store(1, std::memory_order_seq_cst);
        if (std::atomic_ref(channel->rings.no_doorbell).load(std::memory_order_seq_cst) == 0) {
          port.ring_doorbell();
        }
      }
      return false;
    };
    auto workers = HintWorkers::create(ports, 1, serve);
    REQUIRE(workers.has_value());
    if (mode == HostMode::async) {
      ports[0]->ring_doorbell(); // a polling worker looks by itself
    }
    REQUIRE((*workers)->make_threads({}) == 1);
    REQUIRE((*workers)->start(mode));
    // Bounds a failing test only.
    for (const std::uint64_t end = monotonic_ns() + 20'000'000'000;
         !found && monotonic_ns() < end;) {
      std::this_thread::yield();
    }
    (*workers)->stop();
    CHECK(found);
  }
}

// Every round begins with the host on its way to sleep or asleep. It may wake for a doorbell that
// was rung while it lay down, so the guest rings exactly when it is asked to, and nothing is said
// of how often that is.
TEST_CASE("a polling host falls asleep asking for doorbells and wakes silencing them") {
  DrivenHost setup(plan_of(HostMode::poll));
  const auto await_asking = [&setup] {
    while (std::atomic_ref(setup.channel().rings.no_doorbell).load(std::memory_order_seq_cst) !=
           0) {
      std::this_thread::yield();
    }
  };
  constexpr std::uint32_t rounds = 50;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    await_asking();
    if (setup.submit(round + 1, 0)) {
      setup.ring();
    }
    setup.await_answers(round + 1);
    setup.consume(round + 1);
  }
  await_asking(); // to sleep again, with nothing to do
  setup.service->stop();
  const HintTotals totals = setup.service->totals();
  CHECK(totals.batches == rounds);
  CHECK(totals.worker_sleeps > 0);
  CHECK(totals.doorbells <= rounds);
  CHECK(totals.doorbells_suppressed <= rounds);
}

TEST_CASE("doorbells for nothing put the workers to sleep, a batch ends that") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    DrivenHost setup(plan_of(mode));
    const auto naps = [&setup] { return setup.service->totals().worker_naps; };
    // Bounded only for a test that fails.
    for (const std::uint64_t end = monotonic_ns() + 20'000'000'000;
         naps() == 0 && monotonic_ns() < end;) {
      setup.ring();
      std::this_thread::yield();
    }
    CHECK(naps() > 0);
    CHECK(setup.service->totals().doorbells >= HintWorkers::fruitless_limit);
    setup.submit(1, 0);
    setup.ring();
    setup.await_answers(1);
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
  }
}

TEST_CASE("an interrupt is raised when it is wanted, and not else") {
  DrivenHost setup(plan_of(HostMode::async));
  setup.submit(1, 0);
  setup.ring();
  setup.await_answers(1);
  // Passes through the port's lock, so the host has looked at the wish for the first answer.
  CHECK(setup.service->totals().interrupts == 0);
  std::atomic_ref(setup.channel().rings.want_interrupt).store(1, std::memory_order_seq_cst);
  setup.submit(2, 1);
  setup.ring();
  while (setup.interrupts == 0) {
    std::this_thread::yield();
  }
  CHECK(setup.answers() == 2);
  setup.service->stop();
  CHECK(setup.interrupts == 1);
  CHECK(setup.service->totals().interrupts == 1);
}

TEST_CASE("what waits in the ring is not refused") {
  DrivenHost setup(plan_of(HostMode::async));
  setup.calls.close();
  setup.submit(1, 0);
  setup.ring();
  setup.calls.await_waiting(1);
  // With one worker at work, the rest waits in the ring, so nothing is refused yet.
  setup.calls.open();
  setup.await_answers(1);
  CHECK(setup.service->totals().protocol_errors == 0);
}

TEST_CASE("hints of a guest that does not report are answered as failed, whatever the mode") {
  for (const HostMode mode : {HostMode::sync, HostMode::async, HostMode::poll}) {
    DrivenHost setup(plan_of(mode), 1, abi::feature_async);
    CHECK(setup.service->mode() == HostMode::sync);
    setup.mark(0);
    setup.submit(1, 0);
    setup.serve();
    REQUIRE(setup.answers() == 1);
    CHECK(setup.answer(0).outcome(0) == Outcome::failed);
    CHECK(setup.marked(0));
  }
}
