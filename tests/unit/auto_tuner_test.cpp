// SPDX-License-Identifier: MIT
#include "vmm/auto_tuner.hpp"

#include <doctest/doctest.h>

#include "vmm/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr std::uint64_t price_ns = 1'000'000;

UnitCosts pvm_like() {
  return {.doorbell_ns = 30'000, .page_fault_ns = 5'000, .huge_page_fault_ns = {}};
}

// A guest whose hints do the same every second.
class Guest {
 public:
  Guest() : tuner_(pvm_like(), price_ns), policy(tuner_.first({})) {
    now_.now_ns = second_ns;
    run(0.1);
  }

  // A second: what comes back, and time away times size.
  std::uint64_t reused_bytes = 0;
  double away_mib_s = 0;

  void run(double seconds) {
    for (double left = seconds; left > 0.05; left -= 0.1) {
      now_.now_ns += second_ns / 10;
      OrderUse& use = now_.uses[4];
      use.ranges += 10;
      use.discarded_bytes += reused_bytes / 10;
      use.reused_bytes += reused_bytes / 10;
      use.away_mib_s += away_mib_s / 10;
      now_.discard_ns += 10'000;
      now_.doorbells += 1;
      if (const auto changed = tuner_.step(now_, policy)) {
        policy = *changed;
        ++changes;
      }
    }
  }

 private:
  AutoTuner tuner_;
  AutoTuner::Observation now_;

 public:
  abi::ReportPolicy policy;
  unsigned changes = 0;
};

} // namespace

TEST_CASE("the break-even time is what cost and price say") {
  const AutoTuner tuner(pvm_like(), price_ns);
  // 256 faults of 5 us for a MiB, and a call of 1 us for 16 pages.
  CHECK(tuner.break_even_seconds(abi::Order{4}) == doctest::Approx((256 * 5.0 + 16) / 1000));
  CHECK(tuner.break_even_seconds(abi::Order{0}) > tuner.break_even_seconds(abi::Order{9}));
}

TEST_CASE("where faults are dear it begins with larger blocks") {
  UnitCosts dear = pvm_like();
  dear.page_fault_ns = 50'000;
  UnitCosts cheap = pvm_like();
  cheap.page_fault_ns = 500;
  const auto first = [](const UnitCosts& units) {
    return AutoTuner(units, price_ns).first({}).order;
  };
  CHECK(first(dear) > first(pvm_like()));
  CHECK(first(pvm_like()) > first(cheap));
}

TEST_CASE("with huge pages it leaves them whole") {
  UnitCosts units = pvm_like();
  units.huge_page_fault_ns = 100;
  CHECK(AutoTuner(units, price_ns).first({}).order == 9);
}

TEST_CASE("it begins with a decay that the break-even time says, and keeps what is the user's") {
  const AutoTuner tuner(pvm_like(), price_ns);
  const abi::ReportPolicy policy = tuner.first({.keep_bytes = 5 * mib});
  CHECK(policy.strategy == abi::ReportStrategy::decay);
  CHECK(policy.enabled == 1);
  CHECK(policy.keep_bytes == 5 * mib);
  CHECK(static_cast<double>(policy.delay_ns) == doctest::Approx(0.0513e9).epsilon(0.01));
  // Dearer memory is let go sooner; whatever the price, there are bounds.
  CHECK(AutoTuner(pvm_like(), 2 * price_ns).first({}).delay_ns < policy.delay_ns);
  CHECK(AutoTuner(pvm_like(), 1).first({}).delay_ns == 20 * second_ns);
  CHECK(AutoTuner(pvm_like(), 1'000'000'000'000).first({}).delay_ns == 7'000'000);
}

TEST_CASE("nothing changes while it pays") {
  Guest guest;
  guest.reused_bytes = 20 * mib;
  guest.away_mib_s = 100;
  guest.run(100);
  CHECK(guest.changes == 0);
}

TEST_CASE("while it costs more than it saves, memory is held longer and longer, within a bound") {
  Guest guest;
  const std::uint64_t first_ns = guest.policy.delay_ns;
  guest.reused_bytes = 400 * mib; // 0.5 s of faults a second
  guest.away_mib_s = 1;
  guest.run(1);
  CHECK(guest.policy.delay_ns > first_ns);
  guest.run(20);
  CHECK(guest.policy.delay_ns == AutoTuner::longest_times * first_ns);
}

TEST_CASE("a loss of a moment is no reason") {
  Guest guest;
  guest.reused_bytes = 400 * mib;
  guest.run(0.2);
  guest.reused_bytes = 0;
  guest.away_mib_s = 10;
  guest.run(10);
  CHECK(guest.changes == 0);
}

TEST_CASE("once it pays again, shorter half-lives are tried, down to the first") {
  Guest guest;
  const std::uint64_t first_ns = guest.policy.delay_ns;
  guest.reused_bytes = 400 * mib;
  guest.run(2);
  REQUIRE(guest.policy.delay_ns >= 4 * first_ns);
  guest.reused_bytes = 0;
  guest.away_mib_s = 100;
  guest.run(20);
  CHECK(guest.policy.delay_ns > first_ns);
  guest.run(300);
  CHECK(guest.policy.delay_ns == first_ns);
}

TEST_CASE("a clock that stands still changes nothing") {
  AutoTuner tuner(pvm_like(), price_ns);
  const AutoTuner::Observation now{
      .now_ns = second_ns, .doorbells = 1, .discard_ns = 1, .uses = {}};
  CHECK_FALSE(tuner.step(now, {}));
  CHECK_FALSE(tuner.step(now, {}));
  CHECK_FALSE(tuner.due(second_ns));
  CHECK(tuner.due(second_ns + AutoTuner::period_ns));
}
