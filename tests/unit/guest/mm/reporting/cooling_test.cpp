// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/cooling.hpp"

#include <cstdint>

#include <doctest/doctest.h>

using guest::mm::Cooling;

namespace {

constexpr std::uint64_t half_life_ns = 1'600; // holds of 400

} // namespace

TEST_CASE("cooling: half of what was freed is warm a half-life later, a quarter after two") {
  Cooling cooling;
  cooling.reset(half_life_ns);
  cooling.note(10'000, 4'096);
  CHECK(cooling.warm_frames() == 4'096);
  cooling.note(11'600, 4'096);
  CHECK(cooling.warm_frames() == 2'048);
  cooling.note(13'200, 4'096);
  CHECK(cooling.warm_frames() == 1'024);
}

TEST_CASE("cooling: looking often delays it by two holds at most, be the times ever so short") {
  Cooling cooling;
  cooling.reset(half_life_ns);
  cooling.note(10'000, 4'096);
  for (std::uint64_t now_ns = 10'001; now_ns <= 12'400; ++now_ns) {
    cooling.note(now_ns, 4'096);
  }
  CHECK(cooling.warm_frames() >= 1'440); // one half-life and a half
  CHECK(cooling.warm_frames() <= 2'048); // one
}

TEST_CASE("cooling: what is taken comes from the warm, and is warm again when it is freed") {
  Cooling cooling;
  cooling.reset(half_life_ns);
  cooling.note(10'000, 4'096);
  cooling.note(11'600, 4'096);
  cooling.note(11'600, 4'096 - 1'000);
  CHECK(cooling.warm_frames() == 1'048);
  cooling.note(11'600, 4'096);
  CHECK(cooling.warm_frames() == 2'048);
  cooling.note(11'600, 1'000); // more than what is warm
  CHECK(cooling.warm_frames() == 0);
  cooling.note(11'600, 4'096);
  CHECK(cooling.warm_frames() == 3'096);
}

TEST_CASE("cooling: what comes and goes all the time does not cool") {
  Cooling cooling;
  cooling.reset(half_life_ns);
  for (std::uint64_t now_ns = 10'000; now_ns < 10'000 + 40 * half_life_ns; now_ns += 50) {
    cooling.note(now_ns, 4'000);
    cooling.note(now_ns + 20, 5'000);
    REQUIRE(cooling.warm_frames() >= 1'000);
  }
  CHECK(cooling.warm_frames() <= 1'010);
  // When it stops, it cools as everything does.
  const std::uint64_t end_ns = 10'000 + 40 * half_life_ns;
  cooling.note(end_ns, 5'000);
  cooling.note(end_ns + 3 * half_life_ns, 5'000);
  CHECK(cooling.warm_frames() <= 130);
}

TEST_CASE("cooling: reported memory was cool, and is neither free nor warm any more") {
  Cooling cooling;
  cooling.reset(half_life_ns);
  cooling.note(10'000, 4'096);
  cooling.note(11'600, 4'096);
  cooling.took(2'000);
  cooling.note(11'600, 2'096);
  CHECK(cooling.warm_frames() == 2'048);
  cooling.took(10'000); // more than there is
  cooling.note(11'600, 0);
  CHECK(cooling.warm_frames() == 0);
}

TEST_CASE("cooling: a sleeper looks a bounded number of times until nothing is warm") {
  Cooling cooling;
  cooling.reset(half_life_ns);
  std::uint64_t now_ns = 10'000;
  cooling.note(now_ns, 1U << 24); // 64 GiB
  unsigned looks = 0;
  while (cooling.next_look_ns() != Cooling::never) {
    REQUIRE(cooling.next_look_ns() > now_ns);
    now_ns = cooling.next_look_ns();
    cooling.note(now_ns, 1U << 24);
    REQUIRE(++looks <= 20 * Cooling::looks);
  }
  CHECK(cooling.warm_frames() == 0);
}

TEST_CASE("cooling: off, extreme half-lives, a clock that goes back, ages of silence") {
  Cooling cooling;
  cooling.note(10, 7);
  CHECK_FALSE(cooling.on());
  CHECK(cooling.warm_frames() == 0);
  CHECK(cooling.next_look_ns() == Cooling::never);

  cooling.reset(1);
  cooling.note(10, 100);
  cooling.note(12, 100);
  CHECK(cooling.warm_frames() == 0);

  cooling.reset(~std::uint64_t{0});
  cooling.note(~std::uint64_t{0} - 1, 100);
  CHECK(cooling.warm_frames() == 100);
  cooling.note(5, 90);
  CHECK(cooling.warm_frames() == 90);

  cooling.reset(half_life_ns);
  cooling.note(1, 1U << 24);
  cooling.note(~std::uint64_t{0} - 1, 1U << 24);
  CHECK(cooling.warm_frames() == 0);
}
