// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_service.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "vmm/base/clock.hpp"
#include "vmm/base/units.hpp"
#include "vmm/measure/sampler.hpp"

using namespace vmm;
using abi::Outcome;

namespace {

constexpr std::uint64_t ram_bytes = 16 * mib;
constexpr std::uint64_t managed_start = 8 * mib;

// The real calls, behind a gate that a test can close: whoever discards waits there.
class GatedCalls final : public DiscardCalls {
 public:
  int madvise(std::byte* address, std::size_t bytes, int advice) override {
    pass();
    return system_.madvise(address, bytes, advice);
  }
  std::expected<std::size_t, int> process_madvise(int pidfd, std::span<const iovec> ranges,
                                                  int advice) override {
    pass();
    return system_.process_madvise(pidfd, ranges, advice);
  }
  int punch_hole(int, std::uint64_t, std::uint64_t) override { return 0; }

  // Lets one call at a time through for each allow(), until open().
  void close() { set_allowed(0); }
  void open() { set_allowed(unlimited); }
  void allow() {
    const std::scoped_lock lock(mutex_);
    ++allowed_;
    changed_.notify_all();
  }
  void await_waiting(unsigned count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, count] { return waiting_ >= count; });
  }

 private:
  static constexpr std::uint64_t unlimited = std::uint64_t{1} << 62;

  void set_allowed(std::uint64_t allowed) {
    const std::scoped_lock lock(mutex_);
    allowed_ = allowed;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return allowed_ != 0; });
    --allowed_;
    --waiting_;
  }

  SystemDiscardCalls system_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t allowed_ = unlimited;
  unsigned waiting_ = 0;
};

// A host, and the guest's side of its channels driven by hand.
struct Setup {
  explicit Setup(const HintServiceOptions& options, unsigned channels = 1,
                 std::uint64_t features = abi::feature_report | abi::feature_async,
                 decltype(HintEvents::taken) taken = {})
      : memory(*GuestMemory::create(ram_bytes, Backing::small_pages)) {
    auto created = HintService::create(memory, channels, options, calls,
                                       {.interrupt = [this](unsigned) { ++interrupts; },
                                        .violation = {},
                                        .taken = std::move(taken)});
    REQUIRE(created.has_value());
    service = std::move(*created);
    REQUIRE(service->prepare_threads({})); // as the vmm does, before the guest runs
    REQUIRE(service->configure({.features_accepted = features, .managed_start_gpa = managed_start},
                               HintCheck::off));
  }
  ~Setup() { calls.open(); } // before the service waits for its threads

  [[nodiscard]] abi::Channel& channel(unsigned index = 0) const {
    return *memory.object_at<abi::Channel>(
        {EBB_CHANNEL_GPA + std::uint64_t{index} * EBB_CHANNEL_BYTES});
  }
  [[nodiscard]] std::uint32_t answers(unsigned index = 0) const {
    return std::atomic_ref(channel(index).rings.complete_tail).load(std::memory_order_seq_cst);
  }
  void await_answers(std::uint32_t count, unsigned index = 0) const {
    while (answers(index) < count) {
      std::this_thread::yield();
    }
  }
  [[nodiscard]] abi::CompletionEntry& answer(std::uint32_t number, unsigned index = 0) const {
    return channel(index).rings.completions[number % abi::completion_entries];
  }
  void consume(std::uint32_t count, unsigned index = 0) const {
    std::atomic_ref(channel(index).rings.complete_head).store(count, std::memory_order_release);
  }

  // A batch of single pages. Returns whether the host wants the doorbell.
  bool submit(std::uint64_t id, std::uint32_t page, std::uint32_t ranges = 1, unsigned index = 0) {
    abi::Channel& c = channel(index);
    for (std::uint32_t range = 0; range < ranges; ++range) {
      c.pages[page].ranges[range] = abi::RangeDescriptor::make(abi::to_pfn({page_gpa(page, range)}),
                                                               {0}, abi::RangeKind::hint);
    }
    c.rings.submissions[tails[index] % abi::ring_entries] = {id, page, ranges};
    std::atomic_ref(c.rings.submit_tail).store(++tails[index], std::memory_order_seq_cst);
    return std::atomic_ref(c.rings.no_doorbell).load(std::memory_order_seq_cst) == 0;
  }
  static std::uint64_t page_gpa(std::uint32_t page, std::uint32_t range) {
    return managed_start + (std::uint64_t{page} * 64 + 2 * std::uint64_t{range}) * abi::page_bytes;
  }
  // As KVM does for an ioeventfd.
  void ring(unsigned index = 0) const {
    REQUIRE(::eventfd_write(service->doorbell_fd(index), 1) == 0);
  }
  void serve(unsigned index = 0) const { CHECK_FALSE(service->serve(index).has_value()); }
  void mark(std::uint32_t page, std::uint32_t range = 0) const {
    *memory.object_at<std::uint64_t>({page_gpa(page, range)}) = 77;
  }
  [[nodiscard]] bool marked(std::uint32_t page, std::uint32_t range = 0) const {
    return *memory.object_at<std::uint64_t>({page_gpa(page, range)}) == 77;
  }

  GuestMemory memory;
  GatedCalls calls;
  std::atomic<unsigned> interrupts{0};
  std::array<std::uint32_t, 4> tails{};
  std::unique_ptr<HintService> service;
};

HintServiceOptions options_of(HostMode mode, unsigned workers = 1, FaultOptions faults = {}) {
  return {.discard = {}, .mode = mode, .workers = workers, .faults = faults};
}

} // namespace

TEST_CASE("a guest that takes no late answers is served synchronously, whatever the mode") {
  for (const HostMode mode : {HostMode::sync, HostMode::async, HostMode::poll}) {
    Setup setup(options_of(mode), 1, abi::feature_report);
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
  Setup setup(options_of(HostMode::sync), 2);
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
    HintServiceOptions options = options_of(HostMode::sync);
    options.faults.drop = drop;
    Setup setup(options);
    Watcher watcher;
    setup.service->set_observer(watcher);
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
    Setup setup(options_of(mode));
    CHECK(setup.service->mode() == mode);
    setup.submit(1, 0);
    setup.serve();
    setup.await_answers(1);
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
  }
}

TEST_CASE("two workers finish batches of one channel out of order") {
  Setup setup(options_of(HostMode::async, 2));
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
  Setup setup(options_of(HostMode::async, 2));
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
    Setup setup(options_of(mode, 1));
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
    const Setup setup(options_of(mode, 4), 4);
    setup.service->stop();
    CHECK(setup.service->totals().batches == 0);
  }
}

// The guest rings only when asked to, and waits for each answer before it goes on: a single lost
// wake-up hangs the test. Pauses of every length around the polling host's bedtime are tried.
TEST_CASE("no doorbell and no interrupt is lost") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    for (const unsigned workers : {1U, 3U}) {
      constexpr unsigned guests = 2;
      Setup setup(options_of(mode, workers), guests);
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
    const FaultPlan honest;
    HintWorkers::Ports ports;
    ports.push_back(std::make_unique<HintPort>(
        0, *channel, UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), honest));
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
  Setup setup(options_of(HostMode::poll));
  const auto await_bedtime = [&setup] {
    while (std::atomic_ref(setup.channel().rings.no_doorbell).load(std::memory_order_seq_cst) !=
           0) {
      std::this_thread::yield();
    }
  };
  constexpr std::uint32_t rounds = 50;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    await_bedtime();
    if (setup.submit(round + 1, 0)) {
      setup.ring();
    }
    setup.await_answers(round + 1);
    setup.consume(round + 1);
  }
  await_bedtime(); // to sleep again, with nothing to do
  setup.service->stop();
  const HintTotals totals = setup.service->totals();
  CHECK(totals.batches == rounds);
  CHECK(totals.worker_sleeps > 0);
  CHECK(totals.doorbells <= rounds);
  CHECK(totals.doorbells_suppressed <= rounds);
}

TEST_CASE("doorbells for nothing put the workers to sleep, a batch ends that") {
  for (const HostMode mode : {HostMode::async, HostMode::poll}) {
    Setup setup(options_of(mode));
    const auto naps = [&setup] { return setup.service->totals().worker_naps; };
    // Bounded only for a test that fails.
    for (const std::uint64_t end = monotonic_ns() + 20'000'000'000;
         naps() == 0 && monotonic_ns() < end;) {
      setup.ring();
      std::this_thread::yield();
    }
    CHECK(naps() > 0);
    CHECK(setup.service->totals().doorbells >= HintWorkers::patient_wakes);
    setup.submit(1, 0);
    setup.ring();
    setup.await_answers(1);
    CHECK(setup.answer(0).outcome(0) == Outcome::discarded);
  }
}

TEST_CASE("an interrupt is raised when it is wanted, and not else") {
  Setup setup(options_of(HostMode::async));
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

TEST_CASE("a batch too many is never looked at") {
  Setup setup(options_of(HostMode::async));
  setup.calls.close();
  setup.submit(1, 0);
  setup.ring();
  setup.calls.await_waiting(1);
  // With one worker at work, the rest waits in the ring, so nothing is refused yet. Dropped ones
  // keep their place for ever.
  setup.calls.open();
  setup.await_answers(1);
  CHECK(setup.service->totals().protocol_errors == 0);

  Setup dropping(options_of(HostMode::sync, 1, {.drop = 1}));
  for (std::uint32_t batch = 0; batch < 3 * abi::ring_entries; ++batch) {
    dropping.submit(batch, batch % abi::ring_entries);
    dropping.serve();
  }
  CHECK(dropping.answers() == 0);
  CHECK(dropping.service->totals().protocol_errors == 2 * abi::ring_entries);
  CHECK(dropping.service->totals().faults.dropped == abi::ring_entries);
}

TEST_CASE("a dropped batch is discarded late and again, and never answered") {
  Setup setup(options_of(HostMode::async, 1, {.drop = 1}));
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
  Setup setup(options_of(HostMode::async, 1, {.delay_ns = 10'000'000}));
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
  Setup old(options_of(HostMode::sync, 1, {.delay_ns = 1'000'000, .reorder = true}), 1,
            abi::feature_report);
  old.submit(1, 0);
  old.serve();
  CHECK(old.answers() == 1);

  Setup now(options_of(HostMode::sync, 1, {.delay_ns = 1'000'000}));
  now.submit(1, 0);
  now.serve();
  now.await_answers(1);
}

TEST_CASE("stopping leaves postponed batches untouched and unanswered") {
  Setup setup(options_of(HostMode::sync, 1, {.delay_ns = max_fault_delay_ns}));
  setup.mark(0);
  setup.submit(1, 0);
  setup.serve();
  setup.service->stop();
  CHECK(setup.answers() == 0);
  CHECK(setup.marked(0));
}

TEST_CASE("a reordered answer is overtaken by the next, and comes by itself without one") {
  Setup setup(options_of(HostMode::async, 1, {.reorder = true}));
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
  Setup setup(options_of(HostMode::sync, 1, {.duplicate = 1}));
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
  Setup setup(options_of(HostMode::sync, 1, {.partial = 0.5}));
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
    Setup setup(options_of(HostMode::sync, 1, faults));
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
  Setup setup(options_of(HostMode::sync, 1, {}), 1, abi::feature_report,
              [](const Batch& batch, BatchFaults& faults) {
                CHECK(faults == BatchFaults{});
                if (batch.submission.batch_id == 2) {
                  faults.ranges.emplace();
                  faults.ranges->declined.set(1);
                  faults.ranges->failed.set(2);
                } else if (batch.submission.batch_id == 3) {
                  faults.fate = Fate::fail;
                }
              });
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
    Setup setup(options_of(mode, 1, {.drop = 1}), 1, features,
                [](const Batch&, BatchFaults& faults) {
                  CHECK(faults.fate == Fate::drop);
                  faults = {.delay_ns = 1'000'000};
                });
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
    Setup setup(options_of(mode), 1, abi::feature_report | abi::feature_async,
                [](const Batch&, BatchFaults& faults) { faults.delay_ns = 1'000'000; });
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
  HintServiceOptions options = options_of(HostMode::sync, 1, {.delay_ns = max_fault_delay_ns});
  options.stop_fd = stop.get();
  Setup setup(options, 1, abi::feature_report);
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

TEST_CASE("hints of a guest that does not report are answered as failed, whatever the mode") {
  for (const HostMode mode : {HostMode::sync, HostMode::async, HostMode::poll}) {
    Setup setup(options_of(mode), 1, abi::feature_async);
    CHECK(setup.service->mode() == HostMode::sync);
    setup.mark(0);
    setup.submit(1, 0);
    setup.serve();
    REQUIRE(setup.answers() == 1);
    CHECK(setup.answer(0).outcome(0) == Outcome::failed);
    CHECK(setup.marked(0));
  }
}

TEST_CASE("a batch that a hand holds up keeps nobody else's channel waiting") {
  std::atomic<unsigned> held{0};
  std::atomic<bool> release{false};
  Setup setup(options_of(HostMode::sync, 1, {}), 2, abi::feature_report,
              [&](const Batch& batch, BatchFaults&) {
                if (batch.channel == 0) {
                  ++held;
                  release.wait(false);
                }
              });
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
  Setup setup(
      options_of(HostMode::poll, 2, {.delay_ns = 100'000, .duplicate = 0.5, .partial = 0.5}));
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
