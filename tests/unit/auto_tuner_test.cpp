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

// A guest whose hints of each order do the same every second.
class Guest {
 public:
  Guest() : tuner_(pvm_like(), price_ns) {
    policy = tuner_.first({});
    now_.now_ns = second_ns;
    now_.live_bytes = 100 * mib;
  }

  // Of what is hinted a second at this order: how much comes back, and time away times size.
  struct Habit {
    std::uint64_t ranges = 0;
    std::uint64_t reused_bytes = 0;
    double away_mib_s = 0;
  };
  std::array<Habit, abi::order_count> habits;

  void set_live(std::uint64_t bytes) { now_.live_bytes = bytes; }

  void run(unsigned seconds) {
    for (unsigned step = 0; step < seconds; ++step) {
      now_.now_ns += second_ns;
      for (std::size_t order = policy.order; order < habits.size(); ++order) {
        OrderUse& use = now_.uses[order];
        use.ranges += habits[order].ranges;
        use.discarded_bytes += habits[order].reused_bytes;
        use.reused_bytes += habits[order].reused_bytes;
        use.away_mib_s += habits[order].away_mib_s;
        now_.discard_ns += habits[order].ranges * 1'000;
        now_.doorbells += habits[order].ranges / policy.batch;
      }
      if (const auto changed = tuner_.step(now_, policy)) {
        policy = *changed;
        ++changes;
      }
    }
  }

  abi::ReportPolicy policy;
  unsigned changes = 0;

 private:
  AutoTuner tuner_;
  AutoTuner::Observation now_;
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

TEST_CASE("an order that costs more than it saves is given up, those above stay") {
  Guest guest;
  for (auto& habit : guest.habits) {
    habit = {100, mib, 50};
  }
  guest.habits[4] = {10'000, 600 * mib, 10};
  guest.habits[5] = {10'000, 600 * mib, 10};
  guest.run(5);
  CHECK(guest.policy.order == 6);
  CHECK(guest.policy.keep_bytes == 0);
}

TEST_CASE("orders that pay are added, and it settles") {
  Guest guest;
  for (auto& habit : guest.habits) {
    habit = {100, mib, 50};
  }
  guest.run(30);
  CHECK(guest.policy.order == 0);
  const unsigned changes = guest.changes;
  guest.run(100);
  CHECK(guest.changes == changes);
}

TEST_CASE("what was given up is tried again once the memory of it has faded") {
  Guest guest;
  for (auto& habit : guest.habits) {
    habit = {100, mib, 50};
  }
  guest.habits[4] = {10'000, 600 * mib, 10};
  guest.run(5);
  REQUIRE(guest.policy.order == 5);
  guest.habits[4] = {100, mib, 50};
  guest.run(120);
  CHECK(guest.policy.order == 0);
}

TEST_CASE("while nothing pays, what was in use a moment ago is kept; then it is let go") {
  Guest guest;
  guest.policy.order = abi::max_order;
  guest.habits[abi::max_order] = {100, 400 * mib, 1};
  guest.run(2);
  guest.set_live(20 * mib);
  guest.run(1);
  CHECK(guest.policy.keep_bytes == 80 * mib);
  guest.habits[abi::max_order] = {};
  guest.run(10); // longer than the break-even time
  CHECK(guest.policy.keep_bytes == 0);
}

TEST_CASE("the batch grows with the rate of hints and shrinks with their size") {
  const auto batch_of = [](std::uint32_t order, std::uint64_t ranges) {
    Guest guest;
    guest.policy.order = order;
    guest.habits[order] = {ranges, 0, 1e6};
    guest.run(3);
    return guest.policy.batch;
  };
  CHECK(batch_of(0, 100'000) > batch_of(0, 100));
  CHECK(batch_of(0, 100'000) <= 512);
  CHECK(batch_of(10, 10) == 1);
}

TEST_CASE("a clock that stands still changes nothing") {
  AutoTuner tuner(pvm_like(), price_ns);
  const AutoTuner::Observation now{
      .now_ns = second_ns, .live_bytes = mib, .doorbells = 1, .discard_ns = 1, .uses = {}};
  CHECK_FALSE(tuner.step(now, {}));
  CHECK_FALSE(tuner.step(now, {}));
  CHECK_FALSE(tuner.due(second_ns));
  CHECK(tuner.due(second_ns + AutoTuner::period_ns));
}
