// SPDX-License-Identifier: MIT
#include "guest/linux/threads/scheduler.hpp"

#include <functional>
#include <string>

#include "tests/support/linux/hosted_contexts.hpp"
#include "tests/support/linux/still_machine.hpp"

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using Wakes = Scheduler::Wakes;

constexpr std::uint64_t slice = 4'000'000; // ns

// Threads that write down what they do.
struct Threads final : ThreadOwner {
  Threads()
      : scheduler(machine, contexts, *this,
                  std::make_unique<Thread>(1, nullptr, actions, pending, contexts.first())) {}

  Thread& add(std::function<void()> body) {
    contexts.bodies.push_back([this, body = std::move(body)] {
      scheduler.arrive();
      body();
      scheduler.end_running();
    });
    auto context = contexts.copy_running(0, {});
    REQUIRE(context.has_value());
    const auto id = static_cast<std::int32_t>(scheduler.threads().size()) + 1;
    auto thread = std::make_unique<Thread>(id, nullptr, actions, pending, std::move(*context));
    Thread& added = *thread;
    scheduler.add(std::move(thread));
    return added;
  }
  void enter(const Thread& /*next*/) override {}
  [[nodiscard]] std::uint64_t slice_ns() const override { return slice; }
  void idle_until_ns(std::uint64_t deadline) override {
    ++idles;
    if (meanwhile) {
      std::exchange(meanwhile, nullptr)();
      return;
    }
    static_cast<void>(machine.sleep_until_ns(deadline));
  }

  test_support::StillMachine machine;
  test_support::HostedContexts contexts;
  SignalActions actions;
  PendingSignals pending;
  std::function<void()> meanwhile; // once
  unsigned idles = 0;
  std::string told;
  Scheduler scheduler;
};

TEST_CASE("threads run in turn, each until it waits") {
  Threads all;
  for (const char name : {'a', 'b', 'c'}) {
    all.add([&all, name] {
      for (int round = 0; round < 3; ++round) {
        all.told += name;
        all.scheduler.yield();
      }
    });
  }
  CHECK(all.scheduler.is_shared());
  while (all.scheduler.threads().size() > 1) {
    all.scheduler.yield();
    all.told += '.';
  }
  CHECK(all.told == "abc.abc.abc..");
  CHECK_FALSE(all.scheduler.is_shared());
  CHECK(all.idles == 0);
  all.scheduler.yield(); // alone: goes on
}

TEST_CASE(
    "who is woken runs behind those that are ready; a thread that does not wait is not woken") {
  Threads all;
  Thread& sleeper = all.add([&all] {
    all.told += 's';
    all.scheduler.wait_until_ns(Machine::never, Wakes::by_name);
    all.told += 'w';
  });
  all.scheduler.yield();
  all.add([&all] { all.told += 'a'; });
  all.scheduler.wake(sleeper);
  all.scheduler.wake(sleeper); // twice is once
  all.scheduler.wake(all.scheduler.running());
  all.scheduler.yield();
  CHECK(all.told == "saw");
  CHECK(all.scheduler.threads().size() == 1);
  CHECK_FALSE(all.scheduler.is_shared());
}

TEST_CASE("deadlines wake, earliest first, and nobody idles longer than to the next") {
  Threads all;
  const std::uint64_t now = all.machine.now;
  for (const std::uint64_t ns : {300U, 100U, 200U}) {
    all.add([&all, now, ns] {
      all.scheduler.wait_until_ns(now + ns, Wakes::by_name);
      CHECK(all.machine.now == now + ns);
      all.told += std::to_string(ns / 100);
    });
  }
  all.scheduler.wait_until_ns(now + 1000, Wakes::by_name);
  CHECK(all.told == "123");
  CHECK(all.machine.now == now + 1000);
  CHECK(all.idles == 4);
  CHECK(all.scheduler.next_tick_ns() == Machine::never); // none is left behind
}

TEST_CASE("a deadline that was not needed leaves no wake-up behind") {
  Threads all;
  Thread& sleeper = all.add([&all] {
    all.scheduler.wait_until_ns(all.machine.now + 1000, Wakes::by_name);
    all.told += 'w';
  });
  all.scheduler.yield();
  all.scheduler.wake(sleeper);
  all.scheduler.yield();
  CHECK(all.told == "w");
  const std::uint64_t until = all.machine.now + 5000;
  all.scheduler.wait_until_ns(until, Wakes::by_name);
  CHECK(all.machine.now == until);
  CHECK(all.idles == 1);
}

TEST_CASE("only those that watch files are woken with the watchers") {
  Threads all;
  all.add([&all] {
    all.scheduler.wait_until_ns(Machine::never, Wakes::by_any_files);
    all.told += 'f';
  });
  Thread& named = all.add([&all] {
    all.scheduler.wait_until_ns(Machine::never, Wakes::by_name);
    all.told += 'n';
  });
  all.scheduler.yield();
  CHECK(all.scheduler.has_watchers());
  all.scheduler.wake_watchers();
  CHECK_FALSE(all.scheduler.has_watchers());
  all.scheduler.yield();
  CHECK(all.told == "f");
  all.scheduler.wake(named);
  all.scheduler.yield();
  CHECK(all.told == "fn");
}

TEST_CASE("what happens while nobody is ready wakes who waits, itself included") {
  Threads all;
  all.meanwhile = [&all] { all.scheduler.wake(all.scheduler.running()); };
  all.scheduler.wait_until_ns(Machine::never, Wakes::by_name);
  CHECK(all.idles == 1);
  CHECK(all.contexts.changes == 0);
}

TEST_CASE("a slice ends when others are ready, and not when nobody is") {
  Threads all;
  all.machine.now += 10 * slice;
  all.scheduler.tick();
  CHECK(all.scheduler.next_tick_ns() == Machine::never);
  all.add([&all] { all.told += 'a'; });
  CHECK(all.scheduler.next_tick_ns() <= all.machine.now);
  all.scheduler.tick();
  CHECK(all.told == "a");
  all.add([&all] { all.told += 'b'; });
  all.machine.now += slice - 1;
  all.scheduler.tick();
  CHECK(all.told == "a");
  CHECK(all.scheduler.next_tick_ns() == all.machine.now + 1);
  ++all.machine.now;
  all.scheduler.tick();
  CHECK(all.told == "ab");
}

TEST_CASE("each is charged what it has used of the processor, and nobody for idling") {
  Threads all;
  const std::uint64_t before = all.scheduler.used_ns(all.scheduler.running());
  Thread& other = all.add([&all] {
    all.machine.now += 700;
    all.scheduler.wait_until_ns(all.machine.now + 5000, Wakes::by_name);
    all.machine.now += 70;
    all.scheduler.wait_until_ns(Machine::never, Wakes::by_name);
  });
  all.machine.now += 30;
  all.scheduler.yield();
  all.scheduler.wait_until_ns(all.machine.now + 10'000, Wakes::by_name);
  CHECK(all.scheduler.used_ns(all.scheduler.running()) - before == 30);
  CHECK(all.scheduler.used_ns(other) == 770);
}

} // namespace
