// SPDX-License-Identifier: MIT
#include "vmm/measure/auto_policy.hpp"

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t price_ns = 1'000'000;

UnitCosts pvm_like() {
  return {.doorbell_ns = 30'000, .page_fault_ns = 5'000, .huge_page_fault_ns = {}};
}

} // namespace

TEST_CASE("the break-even time is what cost and price say") {
  // 256 faults of 5 us for a MiB, and a call of 1 us for 16 pages.
  CHECK(break_even_seconds(pvm_like(), price_ns, abi::Order{4}) ==
        doctest::Approx((256 * 5.0 + 16) / 1000));
  CHECK(break_even_seconds(pvm_like(), price_ns, abi::Order{0}) >
        break_even_seconds(pvm_like(), price_ns, abi::Order{9}));
}

TEST_CASE("order=auto: where faults are dear, larger blocks") {
  UnitCosts dear = pvm_like();
  dear.page_fault_ns = 50'000;
  UnitCosts cheap = pvm_like();
  cheap.page_fault_ns = 500;
  const auto order = [](const UnitCosts& units) { return auto_policy(units, price_ns, {}).order; };
  CHECK(order(dear) > order(pvm_like()));
  CHECK(order(pvm_like()) > order(cheap));
}

TEST_CASE("order=auto leaves huge pages whole") {
  UnitCosts units = pvm_like();
  units.huge_page_fault_ns = 100;
  CHECK(auto_policy(units, price_ns, {}).order == 9);
}

TEST_CASE("order=auto tells the guest the break-even time, and keeps what is the user's") {
  const abi::ReportPolicy policy =
      auto_policy(pvm_like(), price_ns, {.enabled = 0, .keep_bytes = 5 * mib});
  CHECK(policy.strategy == abi::ReportStrategy::adaptive);
  CHECK(policy.enabled == 0);
  CHECK(policy.keep_bytes == 5 * mib);
  CHECK(static_cast<double>(policy.delay_ns) == doctest::Approx(1.28e9).epsilon(0.01));
  // Dearer memory pays sooner; whatever the price, there are bounds.
  CHECK(auto_policy(pvm_like(), 2 * price_ns, {}).delay_ns < policy.delay_ns);
  CHECK(auto_policy(pvm_like(), 1, {}).delay_ns == 3'600'000'000'000);
  CHECK(auto_policy(pvm_like(), 1'000'000'000'000'000'000, {}).delay_ns == 1);
}
