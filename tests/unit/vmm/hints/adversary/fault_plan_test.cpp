// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/fault_plan.hpp"

#include <string>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

constexpr std::uint64_t batches = 20'000;

// Part of the batches of a channel for which `condition` holds.
template <typename Condition>
double part(const FaultOptions& options, Condition condition, std::uint64_t seed = 7) {
  const FaultPlan plan(options, seed);
  std::uint64_t count = 0;
  for (std::uint64_t number = 0; number < batches; ++number) {
    count += condition(plan.decide(1, number)) ? 1U : 0U;
  }
  return static_cast<double>(count) / static_cast<double>(batches);
}

bool same(const BatchFaults& a, const BatchFaults& b) {
  return a.fate == b.fate && a.repeat == b.repeat && a.reorder == b.reorder &&
         a.delay_ns == b.delay_ns && a.range_seed == b.range_seed;
}

} // namespace

TEST_CASE("every fault can be asked for, alone and together") {
  const auto all = parse_fault_options("delay=5ms,drop=0.05,duplicate=0.2,reorder,partial=0.3,"
                                       "decline=0.25,fail=0.1,stall-after=12");
  REQUIRE_MESSAGE(all.has_value(), all.error().message);
  CHECK(all->delay_ns == 5'000'000);
  CHECK(all->drop == 0.05);
  CHECK(all->duplicate == 0.2);
  CHECK(all->reorder);
  CHECK(all->partial == 0.3);
  CHECK(all->decline == 0.25);
  CHECK(all->fail == 0.1);
  CHECK(all->stall_after == 12U);
  for (const char* one : {"delay=1us", "drop=1", "duplicate=0.01", "reorder", "partial=1.0",
                          "decline=.5", "fail=0.999", "stall-after=0"}) {
    CAPTURE(one);
    const auto options = parse_fault_options(one);
    REQUIRE(options.has_value());
    CHECK(options->any());
  }
  CHECK_FALSE(parse_fault_options("drop=0")->any());
}

TEST_CASE("anything else is refused in one line that names the option") {
  for (const char* text : {"",
                           ",",
                           "drop",
                           "drop=",
                           "drop=1.1",
                           "drop=-0.1",
                           "drop=-0",
                           "drop=nan",
                           "drop=inf",
                           "drop=1e-1",
                           "drop=+0.5",
                           "drop=0,5",
                           "drop= 0.5",
                           "drop=0x1",
                           "reorder=1",
                           "reorder=",
                           "delay",
                           "delay=",
                           "delay=-1",
                           "delay=11s",
                           "delay=soon",
                           "stall-after",
                           "stall-after=",
                           "stall-after=-1",
                           "stall=3",
                           "DROP=0.5",
                           "off",
                           "drop=0.1,",
                           ",drop=0.1",
                           "reorder,reorder",
                           "drop=0,drop=0",
                           "lose=0.5",
                           "drop=0.1;fail=0.1",
                           "drop=.",
                           "drop=\n"}) {
    CAPTURE(text);
    const auto options = parse_fault_options(text);
    REQUIRE_FALSE(options.has_value());
    CHECK(options.error().error_class == ErrorClass::user);
    CHECK(options.error().message.starts_with("--host-fault"));
    CHECK(options.error().message.find('\n') == std::string::npos);
  }
}

TEST_CASE("an honest plan does nothing") {
  for (const FaultPlan& plan : {FaultPlan(), FaultPlan(FaultOptions{}, 99)}) {
    for (std::uint64_t number = 0; number < 100; ++number) {
      const BatchFaults faults = plan.decide(3, number);
      CHECK(faults.fate == Fate::answer);
      CHECK(faults.repeat == Repeat::none);
      CHECK_FALSE(faults.reorder);
      CHECK(faults.delay_ns == 0);
      CHECK_FALSE(faults.declines_range(0));
    }
  }
}

TEST_CASE("rates are kept") {
  CHECK(part({.drop = 0.05}, [](const BatchFaults& f) { return f.fate == Fate::drop; }) ==
        doctest::Approx(0.05).epsilon(0.15));
  CHECK(part({.decline = 0.3}, [](const BatchFaults& f) { return f.fate == Fate::decline; }) ==
        doctest::Approx(0.3).epsilon(0.05));
  CHECK(part({.fail = 0.1}, [](const BatchFaults& f) { return f.fate == Fate::fail; }) ==
        doctest::Approx(0.1).epsilon(0.1));
  const FaultOptions twice{.duplicate = 0.2};
  CHECK(part(twice, [](const BatchFaults& f) { return f.repeat != Repeat::none; }) ==
        doctest::Approx(0.2).epsilon(0.08));
  CHECK(part(twice, [](const BatchFaults& f) { return f.repeat == Repeat::later; }) ==
        doctest::Approx(0.1).epsilon(0.1));
  CHECK(part({.reorder = true}, [](const BatchFaults& f) { return f.reorder; }) == 0.5);
  std::uint64_t declined = 0;
  const BatchFaults partial = FaultPlan({.partial = 0.3}, 5).decide(0, 0);
  for (std::uint32_t range = 0; range < batches; ++range) {
    declined += partial.declines_range(range) ? 1U : 0U;
  }
  CHECK(static_cast<double>(declined) / static_cast<double>(batches) ==
        doctest::Approx(0.3).epsilon(0.05));
}

TEST_CASE("rates of nothing and of everything are exact") {
  const auto dropped = [](const BatchFaults& f) { return f.fate == Fate::drop; };
  CHECK(part({.delay_ns = 1, .drop = 0}, dropped) == 0);
  CHECK(part({.drop = 1}, dropped) == 1);
}

TEST_CASE("a channel stalls after exactly that many batches, and for good") {
  const FaultPlan plan({.drop = 0.5, .stall_after = 3}, 1);
  for (unsigned channel = 0; channel < 4; ++channel) {
    for (std::uint64_t number = 0; number < 50; ++number) {
      CHECK((plan.decide(channel, number).fate == Fate::stall) == (number >= 3));
    }
  }
}

TEST_CASE("the same seed decides the same, another one does not") {
  const FaultOptions options{.drop = 0.3, .duplicate = 0.5, .fail = 0.3};
  const FaultPlan plan(options, 42);
  const FaultPlan again(options, 42);
  const FaultPlan other(options, 43);
  unsigned differs = 0;
  unsigned channels_differ = 0;
  for (std::uint64_t number = 0; number < 200; ++number) {
    CHECK(same(plan.decide(2, number), again.decide(2, number)));
    differs += same(plan.decide(2, number), other.decide(2, number)) ? 0U : 1U;
    channels_differ += plan.decide(0, number).fate != plan.decide(1, number).fate ? 1U : 0U;
  }
  CHECK(differs > 100);
  CHECK(channels_differ > 20);
}
