// SPDX-License-Identifier: MIT
#include "vmm/measure/auto_policy.hpp"

#include <algorithm>

#include "vmm/base/units.hpp"

namespace vmm {
namespace {

// Where a unit could not be measured: of the order of what hardware virtualisation costs.
constexpr double usual_fault_ns = 1'000;
constexpr double usual_call_ns = 1'000; // a range

constexpr std::uint32_t usual_batch = 64;
constexpr std::uint8_t largest_order_of_pages = 4;
// Break-even time of a page up to which single pages are hinted.
constexpr double cheap_return_seconds = 0.64;
// Whatever the price, the guest is told a time it can reckon with.
constexpr double longest_seconds = 3600;

double mib_of(abi::Order order) {
  return static_cast<double>(order.bytes()) / static_cast<double>(mib);
}

abi::Order order_for(const UnitCosts& units, double break_even) {
  if (units.huge_page_fault_ns) {
    return huge_order; // smaller ones would take huge pages to pieces
  }
  abi::Order order{0};
  for (; break_even >= 2 * cheap_return_seconds && order.value < largest_order_of_pages;
       break_even /= 2) {
    ++order.value;
  }
  return order;
}

} // namespace

double break_even_seconds(const UnitCosts& units, std::uint64_t memory_price_ns, abi::Order order) {
  const double pages = static_cast<double>(order.frames());
  const double cost_ns = pages * units.fault_ns(order).value_or(usual_fault_ns) + usual_call_ns;
  return cost_ns / (mib_of(order) * static_cast<double>(memory_price_ns));
}

abi::ReportPolicy auto_policy(const UnitCosts& units, std::uint64_t memory_price_ns,
                              const abi::ReportPolicy& base) {
  constexpr double second_ns = 1e9;
  const double break_even = break_even_seconds(units, memory_price_ns, huge_order);
  abi::ReportPolicy policy = base;
  policy.strategy = abi::ReportStrategy::adaptive;
  policy.order = order_for(units, break_even).value;
  policy.batch = usual_batch;
  policy.delay_ns =
      std::max(static_cast<std::uint64_t>(std::min(break_even, longest_seconds) * second_ns), 1UL);
  return policy;
}

} // namespace vmm
