// SPDX-License-Identifier: MIT
// Whose the ticks of a profile's clock are.
#include <cstdint>

#include <doctest/doctest.h>

#include "vmm/profile/due_ticks.hpp"

namespace {

using vmm::DueTicks;
using vmm::VcpuTurn;

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t s = 1000 * ms;

TEST_CASE("ticks are counted once, by when they were due") {
  DueTicks ticks(10 * ms);
  CHECK(ticks.take(5 * ms, VcpuTurn::guest) == 0); // the clock begins
  CHECK(ticks.take(14 * ms, VcpuTurn::guest) == 0);
  CHECK(ticks.take(15 * ms, VcpuTurn::guest) == 1);
  CHECK(ticks.take(15 * ms, VcpuTurn::host) == 0);
  CHECK(ticks.take(44 * ms, VcpuTurn::host) == 2);
  CHECK(ticks.take(45 * ms, VcpuTurn::guest) == 1);
}

TEST_CASE("what a vCPU was held for is nobody's") {
  DueTicks ticks(10 * ms);
  CHECK(ticks.take(1, VcpuTurn::host) == 0);
  CHECK(ticks.take(500 * ms, VcpuTurn::held) == 0);
  CHECK(ticks.take(500 * ms + 1, VcpuTurn::guest) <= 1);
  CHECK(ticks.take(520 * ms, VcpuTurn::guest) <= 2);
}

TEST_CASE("a guest that was stopped with its process counts a second at most, the host all of it") {
  DueTicks ticks(10 * ms);
  CHECK(ticks.take(1, VcpuTurn::guest) == 0);
  CHECK(ticks.take(60 * s, VcpuTurn::guest) == 100);
  CHECK(ticks.take(70 * s, VcpuTurn::host) == 1000);
}

} // namespace
