// SPDX-License-Identifier: MIT
#include "vmm/profile/sample_series.hpp"

#include <doctest/doctest.h>

using namespace vmm;

TEST_CASE("sample series: the same without a gap is one, all else its own, and memory is bounded") {
  constexpr std::uint64_t period = 100;
  SampleSeries series(period);
  const Stack one;
  const Stack other;
  series.add({1000, 1, &one});
  series.add({1150, 1, &one}); // late, but the next tick
  series.add({1400, 1, &one}); // not looked at in between
  series.add({1500, 1, &other});
  REQUIRE(series.all().size() == 3);
  CHECK(series.all()[0].ticks == 2);
  CHECK(series.all()[0].time_ns == 1150);
  CHECK(series.all()[1].time_ns == 1400);
  CHECK(series.left_out() == 0);
  std::uint64_t time = 2500; // after a gap
  for (std::size_t number = series.all().size(); number < SampleSeries::most_samples + 10;
       ++number) {
    time += period;
    series.add({time, 1, number % 2 == 0 ? &one : &other});
  }
  CHECK(series.all().size() == SampleSeries::most_samples);
  CHECK(series.left_out() == 10);
}
