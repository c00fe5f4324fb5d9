// SPDX-License-Identifier: MIT
#include "vmm/measure/footprint.hpp"

#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t second = 1'000'000'000;

} // namespace

TEST_CASE("constant memory integrates to memory times seconds") {
  FootprintIntegral integral;
  integral.begin(5 * second, 100 * mib, 50 * mib);
  integral.end(9 * second, 100 * mib, 50 * mib);
  CHECK(integral.seconds() == doctest::Approx(4));
  CHECK(integral.resident_mib_s() == doctest::Approx(400));
  CHECK(integral.live_mib_s() == doctest::Approx(200));
  CHECK(integral.unreported_mib_s() == doctest::Approx(200));
}

TEST_CASE("a ramp integrates to a triangle, whatever the sampling") {
  for (const std::uint64_t steps : {1U, 7U, 100U}) {
    CAPTURE(steps);
    FootprintIntegral integral;
    integral.begin(0, 0, 0);
    for (std::uint64_t i = 1; i <= steps; ++i) {
      integral.add(10 * second * i / steps, 1000 * mib * i / steps, 500 * mib * i / steps);
    }
    integral.end(10 * second, 1000 * mib, 500 * mib);
    CHECK(integral.resident_mib_s() == doctest::Approx(5000));
    CHECK(integral.live_mib_s() == doctest::Approx(2500));
    CHECK(integral.resident_peak_bytes() == 1000 * mib);
    CHECK(integral.live_peak_bytes() == 500 * mib);
  }
}

TEST_CASE("without reporting, memory stays at the highest that was live") {
  FootprintIntegral integral;
  integral.begin(0, 0, 100 * mib);
  integral.add(1 * second, 0, 100 * mib);
  integral.add(1 * second, 0, 10 * mib);
  integral.add(3 * second, 0, 10 * mib);
  integral.end(3 * second, 0, 10 * mib);
  CHECK(integral.live_mib_s() == doctest::Approx(120));
  CHECK(integral.unreported_mib_s() == doctest::Approx(300));
}

TEST_CASE("nothing counts outside the interval") {
  FootprintIntegral integral;
  integral.add(0, 100 * mib, 100 * mib);
  integral.end(second, 100 * mib, 100 * mib);
  CHECK_FALSE(integral.running());
  CHECK(integral.seconds() == 0);
  CHECK(integral.resident_mib_s() == 0);
  CHECK(integral.resident_peak_bytes() == 0);

  integral.begin(2 * second, mib, mib);
  CHECK(integral.running());
  integral.end(3 * second, mib, mib);
  integral.add(4 * second, 100 * mib, 100 * mib);
  integral.end(5 * second, 100 * mib, 100 * mib);
  CHECK(integral.seconds() == doctest::Approx(1));
  CHECK(integral.resident_mib_s() == doctest::Approx(1));
  CHECK(integral.resident_peak_bytes() == mib);
}

TEST_CASE("a second interval starts from nothing") {
  FootprintIntegral integral;
  integral.begin(0, 900 * mib, 900 * mib);
  integral.end(second, 900 * mib, 900 * mib);
  integral.begin(2 * second, mib, mib);
  integral.end(4 * second, mib, mib);
  CHECK(integral.resident_mib_s() == doctest::Approx(2));
  CHECK(integral.unreported_mib_s() == doctest::Approx(2));
  CHECK(integral.live_peak_bytes() == mib);
}

TEST_CASE("a clock that goes back stands still") {
  FootprintIntegral integral;
  integral.begin(10 * second, mib, mib);
  integral.add(9 * second, 3 * mib, 3 * mib);
  integral.end(11 * second, 3 * mib, 3 * mib);
  CHECK(integral.seconds() == doctest::Approx(1));
  CHECK(integral.resident_mib_s() == doctest::Approx(3));
}

TEST_CASE("peaks and sums hold for the largest values") {
  FootprintIntegral integral;
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  integral.begin(0, most, most);
  integral.end(second, most, most);
  CHECK(integral.resident_peak_bytes() == most);
  CHECK(integral.resident_mib_s() == doctest::Approx(17592186044416.0));
}

TEST_CASE("settling is measured to the first point that stays near the last") {
  const std::vector<ResidencyPoint> points{{10, 1000}, {20, 1000}, {30, 500}, {40, 105},
                                           {50, 300},  {60, 110},  {70, 95},  {80, 100}};
  CHECK(settle_time_ns(points, 20, 10) == 40);
  CHECK(settle_time_ns(points, 20, 9) == 50);
  CHECK(settle_time_ns(points, 20, 0) == 60);
  CHECK(settle_time_ns(points, 20, 5) == 50);
  CHECK(settle_time_ns(points, 20, 900) == 0);
  CHECK(settle_time_ns(points, 65, 10) == 5);
  CHECK(settle_time_ns(points, 80, 10) == 0);
  CHECK_FALSE(settle_time_ns(points, 81, 10));
  CHECK_FALSE(settle_time_ns({}, 0, 10));
}

TEST_CASE("stability looks at the last points only") {
  const std::vector<ResidencyPoint> points{{1, 900}, {2, 100}, {3, 110}, {4, 105}};
  CHECK(is_stable(points, 3, 10));
  CHECK_FALSE(is_stable(points, 3, 9));
  CHECK_FALSE(is_stable(points, 4, 10));
  CHECK(is_stable(points, 4, 800));
  CHECK_FALSE(is_stable(points, 5, 1000));
  CHECK_FALSE(is_stable(points, 0, 1000));
  CHECK_FALSE(is_stable({}, 1, 1000));
}
