// SPDX-License-Identifier: MIT
#include "guest/linux/events/timer_file.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <doctest/doctest.h>

#include "tests/support/linux/hosted_process.hpp"

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

std::uint64_t take(TimerFile& timer) {
  std::array<std::byte, 8> bytes{};
  std::uint64_t times = 0;
  if (timer.read(0, bytes)) {
    std::memcpy(&times, bytes.data(), sizeof times);
  }
  return times;
}

} // namespace

TEST_CASE("timer file: counts the times that have come, and says when the next does") {
  test_support::StillMachine machine;
  TimerFile timer(machine, 0);
  CHECK(timer.ready_at_ns() == TimerFile::never);
  CHECK(take(timer) == 0);
  const std::uint64_t start = machine.now;
  timer.set({.next_ns = start + 100, .interval_ns = 30});
  CHECK(timer.ready_at_ns() == start + 100);
  machine.now = start + 99;
  CHECK(timer.ready_for(abi::file_readable) == Readiness{0});
  machine.now = start + 100;
  CHECK(timer.ready_for(abi::file_readable) == abi::file_readable);
  machine.now = start + 165;
  CHECK(timer.setting().next_ns == start + 190);
  CHECK(timer.arrivals(abi::file_readable) == 3);
  CHECK(take(timer) == 3);
  CHECK(take(timer) == 0);
  machine.now = start + 190;
  CHECK(take(timer) == 1);
  timer.set({.next_ns = 5, .interval_ns = 0}); // long past
  CHECK(take(timer) == 1);
  CHECK(timer.ready_at_ns() == TimerFile::never);
  timer.set({.next_ns = 5, .interval_ns = 0});
  CHECK(timer.ready_for(abi::file_readable) == abi::file_readable);
  timer.set({}); // what has come is forgotten
  CHECK(take(timer) == 0);
}
