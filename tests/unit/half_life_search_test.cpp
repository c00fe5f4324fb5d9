// SPDX-License-Identifier: MIT
#include "guest/mm/half_life_search.hpp"

#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

using guest::mm::Cooling;
using guest::mm::HalfLifeSearch;

namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t second = 1'000 * ms;
constexpr std::uint64_t likely_break_even = 1'280 * ms; // 5 us a fault, 1 ms a MiB s

// A guest whose free memory goes up and down; the search is told every `look_ns`.
class Guest {
 public:
  explicit Guest(std::uint64_t break_even_ns, std::uint64_t look_ns = 5 * ms) : look_ns_(look_ns) {
    search.reset(break_even_ns, HalfLifeSearch::Blocks::all);
  }

  void rest(std::uint64_t free_frames, std::uint64_t for_ns) {
    for (const std::uint64_t end_ns = now_ns + for_ns; now_ns < end_ns; now_ns += look_ns_) {
      changes += search.note(now_ns, {.all = free_frames, .large = free_frames}) ? 1 : 0;
    }
  }
  // `times` periods, with memory free in the first part of each.
  void cycle(unsigned times, std::uint64_t free_ns, std::uint64_t used_ns) {
    for (unsigned time = 0; time < times; ++time) {
      rest(20'000, free_ns);
      rest(0, used_ns);
    }
  }

  HalfLifeSearch search;
  std::uint64_t now_ns = 77 * second; // clocks do not start at 0
  unsigned changes = 0;

 private:
  std::uint64_t look_ns_;
};

} // namespace

TEST_CASE("half-life: without a break-even time there is nothing to search") {
  HalfLifeSearch search;
  search.reset(0, HalfLifeSearch::Blocks::all);
  CHECK_FALSE(search.on());
  CHECK_FALSE(search.note(second, {.all = 1'000}));
  search.reset(second, HalfLifeSearch::Blocks::all);
  CHECK(search.on());
}

TEST_CASE("half-life: the longer memory must stay away to pay, the longer the first one") {
  HalfLifeSearch search;
  std::uint64_t before = 0;
  for (const std::uint64_t break_even :
       {std::uint64_t{1}, 100 * ms, 500 * ms, second, 2 * second, 5 * second, 30 * second}) {
    search.reset(break_even, HalfLifeSearch::Blocks::all);
    CHECK(search.half_life_ns() >= before);
    CHECK(search.half_life_ns() >= HalfLifeSearch::shortest_ns);
    before = search.half_life_ns();
  }
  CHECK(before == HalfLifeSearch::shortest_ns << (HalfLifeSearch::ghosts - 1));
  search.reset(likely_break_even, HalfLifeSearch::Blocks::all);
  CHECK(search.half_life_ns() == 28 * ms);
}

TEST_CASE("half-life: what stays away long is let go soon, and that stays so") {
  Guest guest(likely_break_even);
  guest.cycle(5, 60 * second, 100 * ms);
  CHECK(guest.search.half_life_ns() <= 28 * ms);
  const unsigned changes = guest.changes;
  guest.cycle(5, 60 * second, 100 * ms);
  CHECK(guest.changes == changes);
}

TEST_CASE("half-life: what is wanted back before it pays is let go ever later, or not at all") {
  Guest guest(likely_break_even);
  guest.cycle(30, 400 * ms, 400 * ms);
  CHECK(guest.search.half_life_ns() == Cooling::never);
  guest.cycle(100, 400 * ms, 400 * ms);
  CHECK(guest.search.half_life_ns() == Cooling::never);
}

TEST_CASE("half-life: short absences are waited for, long ones behind them are not missed") {
  // 100 ms free and wanted again, twenty times, then free for 20 s: letting go in some hundreds of
  // ms pays, at once does not.
  Guest guest(likely_break_even);
  for (unsigned round = 0; round < 5; ++round) {
    guest.cycle(20, 100 * ms, 100 * ms);
    guest.rest(20'000, 20 * second);
  }
  CHECK(guest.search.half_life_ns() >= 56 * ms);
  CHECK(guest.search.half_life_ns() <= 4 * second);
}

TEST_CASE("half-life: another program, another choice, in a time that the memory bounds") {
  Guest guest(likely_break_even);
  guest.cycle(100, 400 * ms, 400 * ms);
  REQUIRE(guest.search.half_life_ns() == Cooling::never);
  guest.cycle(3, 60 * second, 100 * ms);
  CHECK(guest.search.half_life_ns() <= 500 * ms);
  guest.cycle(200, 400 * ms, 400 * ms);
  CHECK(guest.search.half_life_ns() >= 1'600 * ms); // held for 400 ms then, or never let go
}

TEST_CASE("half-life: how often it is told makes no difference to the choice") {
  Guest often(likely_break_even, 1 * ms);
  Guest seldom(likely_break_even, 200 * ms);
  for (Guest* const guest : {&often, &seldom}) {
    guest->cycle(8, 10 * second, 2 * second);
  }
  CHECK(often.search.half_life_ns() <= 2 * seldom.search.half_life_ns());
  CHECK(seldom.search.half_life_ns() <= 2 * often.search.half_life_ns());
}

TEST_CASE("half-life: a dip between two beats counts, as memory that was wanted") {
  Guest guest(likely_break_even);
  // All of it wanted every 400 ms, for 0.1 ms: no beat sees it low.
  for (unsigned round = 0; round < 150; ++round) {
    guest.rest(20'000, 400 * ms);
    static_cast<void>(guest.search.note(guest.now_ns - 5 * ms + 100'000, {}));
  }
  CHECK(guest.search.half_life_ns() > 28 * ms);
}

TEST_CASE("half-life: little memory decides nothing") {
  Guest guest(likely_break_even);
  for (unsigned round = 0; round < 20; ++round) {
    guest.rest(10, 20 * ms);
    guest.rest(0, 20 * ms);
  }
  CHECK(guest.changes == 0);
}

TEST_CASE("half-life: a clock that stands still or goes back is waited for") {
  HalfLifeSearch search;
  search.reset(second, HalfLifeSearch::Blocks::all);
  CHECK_FALSE(search.note(100 * second, {.all = 20'000}));
  const std::uint64_t before = search.half_life_ns();
  for (unsigned look = 0; look < 100; ++look) {
    CHECK_FALSE(
        search.note(100 * second - look * second / 2, {.all = look % 2 == 0 ? 0U : 1U << 30}));
  }
  CHECK(search.half_life_ns() == before);
}

TEST_CASE("half-life: no break-even time and no size is too large to reckon with") {
  for (const std::uint64_t break_even :
       {std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()}) {
    HalfLifeSearch search;
    search.reset(break_even, HalfLifeSearch::Blocks::all);
    std::uint64_t now_ns = second;
    for (unsigned look = 0; look < 1'000; ++look) {
      const bool changed = search.note(now_ns, {.all = look % 2 == 0 ? std::uint64_t{1} << 40 : 0});
      CHECK((changed || search.half_life_ns() >= HalfLifeSearch::shortest_ns));
      now_ns += look % 10 == 0 ? 1'000 * second : 10 * ms;
    }
    CHECK_FALSE(search.note(std::numeric_limits<std::uint64_t>::max() - 1, {.all = 5}));
  }
}

TEST_CASE(
    "half-life: where small blocks come and go and large ones stay, small ones are left alone") {
  HalfLifeSearch search;
  search.reset(likely_break_even, HalfLifeSearch::Blocks::all_or_large);
  CHECK_FALSE(search.large_only());
  std::uint64_t now_ns = second;
  // 40 MiB stay free in large blocks; 20 MiB in small ones are wanted every 300 ms.
  for (unsigned round = 0; round < 60; ++round) {
    for (unsigned look = 0; look < 60; ++look, now_ns += 5 * ms) {
      static_cast<void>(search.note(now_ns, {.all = 15'000, .large = 10'000}));
    }
    static_cast<void>(search.note(now_ns, {.all = 10'000, .large = 10'000}));
    now_ns += 5 * ms;
  }
  CHECK(search.large_only());
  CHECK(search.half_life_ns() <= 500 * ms);
  // When the small ones stay, too, they are let go.
  for (unsigned look = 0; look < 20'000; ++look, now_ns += 5 * ms) {
    static_cast<void>(search.note(now_ns, {.all = 15'000, .large = 10'000}));
  }
  CHECK_FALSE(search.large_only());
}

TEST_CASE("half-life: there is no choice of blocks that was not given") {
  HalfLifeSearch search;
  search.reset(likely_break_even, HalfLifeSearch::Blocks::all);
  std::uint64_t now_ns = second;
  for (unsigned round = 0; round < 200; ++round, now_ns += 300 * ms) {
    static_cast<void>(
        search.note(now_ns, {.all = round % 2 == 0 ? 15'000U : 10'000U, .large = 10'000}));
    CHECK_FALSE(search.large_only());
  }
}
