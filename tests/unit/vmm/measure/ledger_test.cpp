// SPDX-License-Identifier: MIT
#include "vmm/measure/ledger.hpp"

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"
#include "vmm/measure/memory_series.hpp"

using namespace vmm;

namespace {

LedgerInput two_orders() {
  LedgerInput input;
  input.saved_mib_s = 1000;
  input.doorbells = 10;
  input.discard_ns = 4'000'000;
  input.uses[0] = {300, 300 * 4 * kib, 200 * 4 * kib, 7};
  input.uses[9] = {100, 200 * mib, 2 * mib, 900};
  input.units = {.doorbell_ns = 30'000, .page_fault_ns = 5'000, .huge_page_fault_ns = {}};
  return input;
}

} // namespace

TEST_CASE("a ledger adds up: what is spent on all orders is what was spent") {
  const Ledger ledger = Ledger::make(two_orders());
  REQUIRE(ledger.spent);
  CHECK(ledger.reused_bytes == 2 * mib + 200 * 4 * kib);
  CHECK(ledger.spent->discard_ns == 4e6);
  CHECK(ledger.spent->doorbell_ns == 3e5);
  CHECK(ledger.spent->refault_ns == doctest::Approx(5000.0 * (200 + 512)));
  double discard_ns = 0;
  double refault_ns = 0;
  for (const Ledger::Row& row : ledger.orders) {
    REQUIRE(row.spent);
    discard_ns += row.spent->discard_ns;
    refault_ns += row.spent->refault_ns;
  }
  CHECK(discard_ns == doctest::Approx(ledger.spent->discard_ns));
  CHECK(refault_ns == doctest::Approx(ledger.spent->refault_ns));
  // Calls and doorbells are shared by ranges: 3 of 4.
  CHECK(ledger.orders[0].spent->discard_ns == doctest::Approx(3e6));
  // 1 ms for 1 MiB s.
  CHECK(*ledger.net_mib_s == doctest::Approx(1000 - ledger.spent->sum_ns() / 1e6));
  CHECK(*ledger.orders[9].net_mib_s ==
        doctest::Approx(900 - ledger.orders[9].spent->sum_ns() / 1e6));
}

TEST_CASE("a dearer MiB makes the same time count less") {
  LedgerInput input = two_orders();
  const double cheap = *Ledger::make(input).net_mib_s;
  input.memory_price_ns *= 10;
  CHECK(*Ledger::make(input).net_mib_s > cheap);
}

TEST_CASE("what a unit is not known for has no net benefit, what needs none has") {
  LedgerInput input = two_orders();
  input.units.page_fault_ns.reset();
  const Ledger ledger = Ledger::make(input);
  CHECK_FALSE(ledger.spent);
  CHECK_FALSE(ledger.net_mib_s);
  REQUIRE(ledger.orders[3].net_mib_s); // no range, no cost
  CHECK(*ledger.orders[3].net_mib_s == 0);
  LedgerInput nothing;
  REQUIRE(Ledger::make(nothing).net_mib_s);
  CHECK(*Ledger::make(nothing).net_mib_s == 0);
}

TEST_CASE("huge pages come back as such from order 9 on, below it page by page") {
  LedgerInput input = two_orders();
  input.units.huge_page_fault_ns = 400;
  const Ledger ledger = Ledger::make(input);
  CHECK(ledger.orders[0].spent->refault_ns == doctest::Approx(200 * 5000.0));
  CHECK(ledger.orders[9].spent->refault_ns == doctest::Approx(512 * 400.0));
}

TEST_CASE("a series stays bounded, in order, evenly spread, and keeps its first point") {
  MemorySeries series;
  constexpr std::uint64_t count = 10 * MemorySeries::most_points + 7;
  for (std::uint64_t index = 0; index < count; ++index) {
    series.add({.at_ns = 100 + index, .resident_bytes = index, .live_bytes = 2 * index});
    REQUIRE(series.points().size() < MemorySeries::most_points);
  }
  const auto points = series.points();
  CHECK(points.front().at_ns == 100);
  CHECK(points.size() >= MemorySeries::most_points / 4);
  const std::uint64_t step = points[1].at_ns - points[0].at_ns;
  for (std::size_t index = 1; index < points.size(); ++index) {
    REQUIRE(points[index].at_ns - points[index - 1].at_ns == step);
    REQUIRE(points[index].live_bytes == 2 * points[index].resident_bytes.value());
  }
  CHECK(count + 100 - points.back().at_ns <= step + 1);
  series.begin();
  CHECK(series.points().empty());
}
