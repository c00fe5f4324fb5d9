// SPDX-License-Identifier: MIT
#include "guest/linux/signals/timers.hpp"

#include <cerrno>
#include <csignal>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

constexpr std::int32_t real = 0;
constexpr std::int32_t of_program = 1;

Timers::Now at(std::uint64_t elapsed_ns, std::uint64_t used_ns = 0) {
  return {.elapsed_ns = elapsed_ns, .used_ns = used_ns};
}

std::uint64_t signal_at(Timers& timers, const Timers::Now& now) {
  const auto cause = timers.take(now, 0);
  return cause ? cause->signal : 0;
}

TEST_CASE("timers: one that runs out once sends its signal once") {
  Timers timers;
  CHECK_FALSE(timers.any_set());
  timers.set(real, {.next_ns = 100, .interval_ns = 0});
  CHECK(timers.any_set());
  CHECK(signal_at(timers, at(99)) == 0);
  CHECK(timers.next_while_sleeping_ns() == 100);
  CHECK(signal_at(timers, at(100)) == SIGALRM);
  CHECK(signal_at(timers, at(1000)) == 0);
  CHECK_FALSE(timers.any_set());
  CHECK(timers.next_while_sleeping_ns() == Timers::never);
  CHECK(timers.next_while_computing_ns(at(1000)) == Timers::never);
}

TEST_CASE("timers: one that runs on stays in step, however late it is looked at") {
  Timers timers;
  timers.set(real, {.next_ns = 100, .interval_ns = 10});
  CHECK(signal_at(timers, at(135)) == SIGALRM);
  CHECK(signal_at(timers, at(139)) == 0);
  CHECK(timers.next_while_sleeping_ns() == 140);
  CHECK(signal_at(timers, at(140)) == SIGALRM);
  timers.set(real, {});
  CHECK(signal_at(timers, at(10000)) == 0);
}

TEST_CASE("timers: those of used time go on only while it is used") {
  Timers timers;
  timers.set(of_program, {.next_ns = 50, .interval_ns = 0});
  CHECK(timers.next_while_sleeping_ns() == Timers::never);
  CHECK(timers.next_while_computing_ns(at(1000, 20)) == 1030);
  CHECK(timers.next_while_computing_ns(at(1000, 60)) == 1000); // it is late
  CHECK(timers.next_while_computing_ns({.elapsed_ns = 1000, .used_ns = 20, .processors = 2}) ==
        1015);
  CHECK(signal_at(timers, at(100000, 49)) == 0);
  CHECK(signal_at(timers, at(100001, 50)) == SIGVTALRM);
}

TEST_CASE("timers: what is made has a number, says what it was told, and counts what it missed") {
  Timers timers;
  const auto first = timers.add(Timers::Clock::elapsed, 7, {.signal = SIGUSR1, .value = 42});
  const auto second = timers.add(Timers::Clock::elapsed, 0, {}); // sends nothing
  REQUIRE(first);
  REQUIRE(second);
  CHECK(*first != *second);
  CHECK(timers.epoch_ns(*first) == 7);
  timers.set(*first, {.next_ns = 10, .interval_ns = 10});
  timers.set(*second, {.next_ns = 5, .interval_ns = 0});
  auto cause = timers.take(at(35), 0);
  REQUIRE(cause.has_value());
  CHECK(cause->signal == SIGUSR1);
  CHECK(cause->code == SI_TIMER);
  CHECK(cause->value == 42);
  CHECK(cause->timer == *first - Timers::interval_timers);
  // Its signal has not been taken yet, twice.
  CHECK_FALSE(timers.take(at(40), set_of(SIGUSR1)));
  CHECK_FALSE(timers.take(at(55), set_of(SIGUSR1)));
  CHECK(timers.deliver(*first) == 4);
  CHECK(timers.overruns(*first) == 4);
  cause = timers.take(at(60), 0);
  REQUIRE(cause.has_value());
  CHECK(timers.overruns(*first) == 4);
  CHECK(timers.deliver(*first) == 0);
  CHECK(timers.deliver(-1) == 0);
  timers.remove(*first);
  CHECK_FALSE(timers.has(*first));
  CHECK_FALSE(timers.take(at(1000), 0));
  CHECK(timers.add(Timers::Clock::used, 0, {.signal = SIGUSR2}) == *first);
  timers.set(real, {.next_ns = 2000, .interval_ns = 0});
  timers.remove_made();
  CHECK_FALSE(timers.has(*first));
  CHECK_FALSE(timers.has(*second));
  CHECK(signal_at(timers, at(2000)) == SIGALRM);
}

TEST_CASE("timers: there are so many, and a number that is none is told") {
  Timers timers;
  Or<std::int32_t> last = 0;
  std::size_t made = 0;
  for (; last; ++made) {
    REQUIRE(made <= Timers::most);
    last = timers.add(Timers::Clock::elapsed, 0, {.signal = SIGUSR1});
  }
  CHECK(last.error() == EAGAIN);
  CHECK(made == Timers::most - Timers::interval_timers + 1);
  CHECK_FALSE(timers.has(-1));
  CHECK_FALSE(timers.has(Timers::most));
  CHECK(timers.has(Timers::most - 1));
}

} // namespace
