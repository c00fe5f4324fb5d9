// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/half_life_search.hpp"

#include <algorithm>
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
      search.note(now_ns, {.all = free_frames, .large = free_frames});
      kept_at_end = search.kept_frames();
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
  std::uint64_t kept_at_end = 0;

 private:
  std::uint64_t look_ns_;
};

} // namespace

TEST_CASE("half-life: without a break-even time there is nothing to search") {
  HalfLifeSearch search;
  search.reset(0, HalfLifeSearch::Blocks::all);
  CHECK_FALSE(search.on());
  search.note(second, {.all = 1'000});
  search.note(2 * second, {.all = 1'000});
  CHECK(search.next_look_ns() == Cooling::never);
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
  guest.rest(20'000, 50 * ms); // wanted, and free again since then
  CHECK(guest.kept_at_end > 2'000);
  guest.rest(20'000, 200 * ms);
  CHECK(guest.kept_at_end < 2'000);
  guest.rest(20'000, 20 * second);
  CHECK(guest.kept_at_end < 200);
}

TEST_CASE("half-life: what is wanted back before it pays is let go ever later, or not at all") {
  Guest guest(likely_break_even);
  guest.cycle(30, 400 * ms, 400 * ms);
  CHECK(guest.search.half_life_ns() == Cooling::never);
  guest.cycle(100, 400 * ms, 400 * ms);
  CHECK(guest.search.half_life_ns() == Cooling::never);
  guest.rest(20'000, 400 * ms);
  CHECK(guest.kept_at_end > 19'800);
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
    guest.search.note(guest.now_ns - 5 * ms + 100'000, {});
  }
  CHECK(guest.search.half_life_ns() > 28 * ms);
}

TEST_CASE("half-life: little memory decides nothing") {
  Guest guest(likely_break_even);
  const std::uint64_t before = guest.search.half_life_ns();
  for (unsigned round = 0; round < 20; ++round) {
    guest.rest(10, 20 * ms);
    guest.rest(0, 20 * ms);
  }
  CHECK(guest.search.half_life_ns() == before);
}

TEST_CASE("half-life: what is kept is a mean: a little experience changes it by a little") {
  Guest guest(likely_break_even);
  const auto kept_after = [&guest](std::uint64_t free_ns) {
    guest.rest(20'000, free_ns);
    return guest.kept_at_end;
  };
  std::uint64_t before = kept_after(400 * ms);
  std::uint64_t largest_step = 0;
  for (unsigned round = 0; round < 40; ++round) {
    guest.rest(0, 400 * ms);
    const std::uint64_t kept = kept_after(400 * ms);
    CHECK(kept + 100 >= before); // each time it was wanted too soon speaks for keeping more
    largest_step = std::max(largest_step, kept - std::min(kept, before));
    before = kept;
  }
  CHECK(before > 19'000);
  CHECK(largest_step < 15'000); // no leap from letting all go to letting nothing go
}

TEST_CASE("half-life: between two beats what is freed stays, and what is taken is taken from it") {
  HalfLifeSearch search;
  search.reset(likely_break_even, HalfLifeSearch::Blocks::all);
  std::uint64_t now_ns = second;
  for (unsigned look = 0; look < 4'000; ++look, now_ns += 5 * ms) {
    search.note(now_ns, {.all = 20'000, .large = 20'000});
  }
  const std::uint64_t cold = search.kept_frames();
  REQUIRE(cold < 200);
  now_ns -= 5 * ms;
  search.note(now_ns + 1'000, {.all = 20'300, .large = 20'300});
  CHECK(search.kept_frames() == cold + 300);
  search.note(now_ns + 2'000, {.all = 20'100, .large = 20'100});
  CHECK(search.kept_frames() == cold + 100);
  search.note(now_ns + 3'000, {.all = 1'000, .large = 1'000});
  CHECK(search.kept_frames() == 0);
}

TEST_CASE("half-life: who sleeps looks as often as what counts needs") {
  Guest cheap(100 * ms);
  Guest dear(4 * second);
  for (Guest* const guest : {&cheap, &dear}) {
    guest->cycle(30, 1 * second, 20 * ms);
  }
  CHECK(cheap.search.half_life_ns() < dear.search.half_life_ns());
  const auto step = [](const Guest& guest) {
    return guest.search.next_look_ns() - (guest.now_ns - 5 * ms);
  };
  CHECK(step(cheap) >= 5 * ms);
  CHECK(step(cheap) <= 100 * ms);
  CHECK(step(dear) > step(cheap));
  CHECK(step(dear) <= second);
}

TEST_CASE("half-life: a clock that stands still or goes back is waited for") {
  HalfLifeSearch search;
  search.reset(second, HalfLifeSearch::Blocks::all);
  search.note(100 * second, {.all = 20'000});
  const std::uint64_t before = search.half_life_ns();
  for (unsigned look = 0; look < 100; ++look) {
    search.note(100 * second - look * second / 2, {.all = look % 2 == 0 ? 0U : 1U << 30});
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
      const std::uint64_t frames = look % 2 == 0 ? std::uint64_t{1} << 40 : 0;
      search.note(now_ns, {.all = frames});
      CHECK(search.half_life_ns() >= HalfLifeSearch::shortest_ns);
      CHECK(search.kept_frames() <= frames);
      now_ns += look % 10 == 0 ? 1'000 * second : 10 * ms;
    }
    search.note(std::numeric_limits<std::uint64_t>::max() - 1, {.all = 5});
    CHECK(search.next_look_ns() == Cooling::never);
  }
}

TEST_CASE("half-life: where small blocks come and go and large ones stay, small ones are kept") {
  for (const HalfLifeSearch::Blocks blocks :
       {HalfLifeSearch::Blocks::all_or_large, HalfLifeSearch::Blocks::all}) {
    HalfLifeSearch search;
    search.reset(likely_break_even, blocks);
    std::uint64_t now_ns = second;
    std::uint64_t kept = 0;
    // 40 MiB stay free in large blocks; 20 MiB in small ones are wanted every 300 ms.
    for (unsigned round = 0; round < 60; ++round) {
      for (unsigned look = 0; look < 60; ++look, now_ns += 5 * ms) {
        search.note(now_ns, {.all = 15'000, .large = 10'000});
        kept = search.kept_frames();
      }
      search.note(now_ns, {.all = 10'000, .large = 10'000});
      now_ns += 5 * ms;
    }
    CHECK(kept >= 4'500);
    CHECK(kept <= 5'500);
    // When the small ones stay, too, they are let go.
    for (unsigned look = 0; look < 20'000; ++look, now_ns += 5 * ms) {
      search.note(now_ns, {.all = 15'000, .large = 10'000});
    }
    CHECK(search.kept_frames() < 200);
  }
}
