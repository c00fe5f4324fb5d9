// SPDX-License-Identifier: MIT
#include "vmm/measure/footprint.hpp"

#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t second = 1'000'000'000;

MemoryPoint at(std::uint64_t now_ns, std::uint64_t resident_bytes, std::uint64_t live_bytes,
               std::uint64_t ever_resident_bytes = 0) {
  return {.at_ns = now_ns,
          .resident_bytes = resident_bytes,
          .live_bytes = live_bytes,
          .ever_resident_bytes = ever_resident_bytes};
}

} // namespace

TEST_CASE("constant memory integrates to memory times seconds") {
  FootprintIntegral integral;
  integral.begin(at(5 * second, 100 * mib, 50 * mib));
  integral.end(at(9 * second, 100 * mib, 50 * mib));
  CHECK(integral.seconds() == doctest::Approx(4));
  CHECK(integral.resident_mib_s().value() == doctest::Approx(400));
  CHECK(integral.live_mib_s().value() == doctest::Approx(200));
}

TEST_CASE("a ramp integrates to a triangle, whatever the sampling") {
  for (const std::uint64_t steps : {1U, 7U, 100U}) {
    CAPTURE(steps);
    FootprintIntegral integral;
    integral.begin(at(0, 0, 0));
    for (std::uint64_t i = 1; i <= steps; ++i) {
      integral.add(at(10 * second * i / steps, 1000 * mib * i / steps, 500 * mib * i / steps));
    }
    integral.end(at(10 * second, 1000 * mib, 500 * mib));
    CHECK(integral.resident_mib_s().value() == doctest::Approx(5000));
    CHECK(integral.live_mib_s().value() == doctest::Approx(2500));
    CHECK(integral.resident_peak_bytes() == 1000 * mib);
    CHECK(integral.live_peak_bytes() == 500 * mib);
  }
}

TEST_CASE("the model without reporting integrates what was ever resident") {
  FootprintIntegral integral;
  integral.begin(at(0, mib, 0, 100 * mib));
  integral.add(at(1 * second, mib, 0, 100 * mib));
  integral.add(at(1 * second, mib, 0, 130 * mib));
  integral.end(at(3 * second, mib, 0, 130 * mib));
  CHECK(integral.unreported_mib_s().value() == doctest::Approx(360));
}

TEST_CASE("a quantity that was unknown once has no integral, the others have theirs") {
  FootprintIntegral integral;
  integral.begin(at(0, mib, mib, mib));
  MemoryPoint unknown = at(1 * second, 0, mib, mib);
  unknown.resident_bytes.reset();
  integral.add(unknown);
  integral.end(at(2 * second, mib, mib, mib));
  CHECK_FALSE(integral.resident_mib_s().has_value());
  CHECK_FALSE(integral.resident_peak_bytes().has_value());
  CHECK(integral.live_mib_s().value() == doctest::Approx(2));
  CHECK(integral.unreported_mib_s().value() == doctest::Approx(2));
}

TEST_CASE("few points, or steps between them that leave much open, are not believed") {
  const auto ramp = [](std::uint64_t steps, std::uint64_t top_bytes) {
    FootprintIntegral integral;
    integral.begin(at(0, mib, mib, mib));
    for (std::uint64_t step = 1; step < steps; ++step) {
      integral.add(at(second * step / steps, mib + top_bytes * step / steps, mib, mib));
    }
    integral.end(at(second, mib + top_bytes, mib, mib));
    return integral.is_fine();
  };
  CHECK_FALSE(ramp(1, 0)); // two points: who knows what was between them
  CHECK(ramp(10, 0));
  CHECK(ramp(100, 1000 * mib));
  CHECK(ramp(10, 1000 * mib)); // ten steps, each an even tenth
  FootprintIntegral jump;
  jump.begin(at(0, mib, mib, mib));
  for (std::uint64_t step = 1; step < 20; ++step) {
    jump.add(at(step, mib, mib, mib));
  }
  jump.end(at(second, 1000 * mib, mib, mib)); // nearly all of the time in one step
  CHECK_FALSE(jump.is_fine());
}

TEST_CASE("the guest's word for the peak counts if it rose in the interval") {
  const auto told = [](std::uint64_t before, std::uint64_t after) {
    FootprintIntegral integral;
    MemoryPoint begin = at(0, 0, 10 * mib);
    begin.live_high_bytes = before;
    MemoryPoint end = at(second, 0, 20 * mib);
    end.live_high_bytes = after;
    integral.begin(begin);
    integral.end(end);
    return integral.live_peak_bytes();
  };
  CHECK(told(15 * mib, 90 * mib) == 90 * mib);
  CHECK(told(90 * mib, 90 * mib) == 20 * mib); // from before the interval
  CHECK(told(0, 0) == 20 * mib);               // the guest does not tell
}

TEST_CASE("nothing counts outside the interval") {
  FootprintIntegral integral;
  integral.add(at(0, 100 * mib, 100 * mib));
  integral.end(at(second, 100 * mib, 100 * mib));
  CHECK_FALSE(integral.running());
  CHECK(integral.seconds() == 0);
  CHECK_FALSE(integral.resident_mib_s().has_value());
  CHECK_FALSE(integral.resident_peak_bytes().has_value());

  integral.begin(at(2 * second, mib, mib));
  CHECK(integral.running());
  integral.end(at(3 * second, mib, mib));
  integral.add(at(4 * second, 100 * mib, 100 * mib));
  integral.end(at(5 * second, 100 * mib, 100 * mib));
  CHECK(integral.seconds() == doctest::Approx(1));
  CHECK(integral.resident_mib_s().value() == doctest::Approx(1));
  CHECK(integral.resident_peak_bytes() == mib);
}

TEST_CASE("a second interval starts from nothing") {
  FootprintIntegral integral;
  integral.begin(at(0, 900 * mib, 900 * mib));
  integral.end(at(second, 900 * mib, 900 * mib));
  integral.begin(at(2 * second, mib, mib));
  integral.end(at(4 * second, mib, mib));
  CHECK(integral.resident_mib_s().value() == doctest::Approx(2));
  CHECK(integral.live_peak_bytes() == mib);
}

TEST_CASE("a clock that goes back stands still") {
  FootprintIntegral integral;
  integral.begin(at(10 * second, mib, mib));
  integral.add(at(9 * second, 3 * mib, 3 * mib));
  integral.end(at(11 * second, 3 * mib, 3 * mib));
  CHECK(integral.seconds() == doctest::Approx(1));
  CHECK(integral.resident_mib_s().value() == doctest::Approx(3));
}

TEST_CASE("peaks and sums hold for the largest values") {
  FootprintIntegral integral;
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  integral.begin(at(0, most, most));
  integral.end(at(second, most, most));
  CHECK(integral.resident_peak_bytes() == most);
  CHECK(integral.resident_mib_s().value() == doctest::Approx(17592186044416.0));
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
