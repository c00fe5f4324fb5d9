// SPDX-License-Identifier: MIT
#include "guest/mm/backoff.hpp"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/fair_lock.hpp"
#include "tests/support/still_platform.hpp"

namespace {

using guest::mm::Backoff;
using guest::mm::FairGuard;
using guest::mm::FairLock;

constexpr std::uint64_t pause_ns = 50;

class Clock final : public test_support::StillPlatform {
 public:
  std::uint64_t now_ns() override { return time_ns; }
  void relax() override {
    time_ns += pause_ns;
    ++pauses;
  }
  void nap(std::uint64_t ns) override {
    time_ns += ns;
    naps.push_back(ns);
  }
  void count_spinning(std::uint64_t ns) override { spun_ns += ns; }

  std::uint64_t time_ns = 0;
  std::uint64_t spun_ns = 0;
  unsigned pauses = 0;
  std::vector<std::uint64_t> naps;
};

} // namespace

TEST_CASE("backoff: spins for a bounded time, then naps, longer and longer to a bound") {
  Clock clock;
  {
    Backoff wait(clock);
    while (clock.time_ns < 5'000'000'000) { // as a wait that nobody ends for 5 s
      wait();
    }
  }
  CHECK(clock.pauses * pause_ns <= Backoff::spin_ns + 2 * pause_ns);
  REQUIRE_FALSE(clock.naps.empty());
  CHECK(clock.naps.front() == Backoff::shortest_nap_ns);
  CHECK(clock.naps.back() == Backoff::longest_nap_ns);
  CHECK(std::ranges::is_sorted(clock.naps));
  CHECK(clock.naps.size() < 1100);
}

TEST_CASE("backoff: what was spun is counted once a wait, however it ended") {
  Clock clock;
  {
    Backoff wait(clock);
    for (unsigned turn = 0; turn < 100; ++turn) {
      wait();
    }
    CHECK(clock.spun_ns == 0);
  }
  CHECK(clock.spun_ns >= 98 * pause_ns);
  CHECK(clock.spun_ns <= 100 * pause_ns);
  { const Backoff unused(clock); }
  CHECK(clock.spun_ns <= 100 * pause_ns);
}

TEST_CASE("backoff: each wait for a lock spins anew") {
  Clock clock;
  const Backoff original(clock);
  for (unsigned wait = 0; wait < 3; ++wait) {
    Backoff copy = original;
    while (!copy.now_is_time_to_nap()) {
      copy();
    }
  }
  CHECK(clock.spun_ns >= 3 * (Backoff::spin_ns - 2 * pause_ns));
  CHECK(clock.naps.empty());
}

TEST_CASE("fair lock: who naps does not keep others out") {
  // A waiter that has lost its patience, and naps: meanwhile the lock comes free and goes again.
  struct Waiting {
    FairLock& lock;
    unsigned& naps;
    bool& taken_meanwhile;
    [[nodiscard]] bool now_is_time_to_nap() const { return turns > 1000; }
    void operator()() {
      if (++turns > 1001 && naps++ == 0) {
        lock.unlock();
        taken_meanwhile = lock.try_lock(); // another one
      } else if (naps > 3) {
        lock.unlock();
      }
    }
    unsigned turns = 0;
  };
  FairLock lock;
  REQUIRE(lock.try_lock());
  unsigned naps = 0;
  bool taken_meanwhile = false;
  lock.lock(Waiting{lock, naps, taken_meanwhile});
  CHECK(taken_meanwhile);
  lock.unlock();
}
