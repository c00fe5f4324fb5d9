// SPDX-License-Identifier: MIT
#include "vmm/auto_tuner.hpp"

#include <algorithm>
#include <cmath>

#include "vmm/units.hpp"

namespace vmm {
namespace {

// Where a unit could not be measured: of the order of what hardware virtualisation costs.
constexpr double usual_doorbell_ns = 5'000;
constexpr double usual_fault_ns = 1'000;
constexpr double usual_call_ns = 1'000; // a range

constexpr std::uint32_t usual_batch = 64;
constexpr abi::Order huge_order{9};
constexpr std::uint8_t largest_order_of_pages = 4;
// Break-even time of a page up to which single pages are hinted.
constexpr double cheap_return_seconds = 0.64;

double mib_of(abi::Order order) {
  return static_cast<double>(order.bytes()) / static_cast<double>(mib);
}

double pages_of(std::uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(abi::page_bytes);
}

} // namespace

AutoTuner::AutoTuner(const UnitCosts& units, std::uint64_t memory_price_ns)
    : units_(units), price_ns_(static_cast<double>(memory_price_ns)) {}

double AutoTuner::break_even_seconds(abi::Order order) const {
  const double pages = static_cast<double>(order.frames());
  const double cost_ns = pages * units_.fault_ns(order).value_or(usual_fault_ns) + usual_call_ns;
  return cost_ns / (mib_of(order) * price_ns_);
}

abi::Order AutoTuner::order() const {
  if (units_.huge_page_fault_ns) {
    return huge_order; // smaller ones would take huge pages to pieces
  }
  abi::Order order{0};
  double seconds = break_even_seconds(huge_order);
  for (; seconds >= 2 * cheap_return_seconds && order.value < largest_order_of_pages;
       seconds /= 2) {
    ++order.value;
  }
  return order;
}

std::uint64_t AutoTuner::half_life_ns() const {
  const double break_even = break_even_seconds(huge_order);
  const double seconds = half_life_at_1_s * break_even * break_even;
  return static_cast<std::uint64_t>(std::clamp(seconds, shortest_seconds, longest_seconds) * 1e9);
}

abi::ReportPolicy AutoTuner::first(const abi::ReportPolicy& policy) const {
  abi::ReportPolicy chosen = policy;
  chosen.strategy = abi::ReportStrategy::decay;
  chosen.order = order().value;
  chosen.batch = usual_batch;
  chosen.delay_ns = half_life_ns();
  return chosen;
}

double AutoTuner::balance_ns(const Observation& before, const Observation& now) const {
  double balance = -static_cast<double>(now.discard_ns - before.discard_ns) -
                   static_cast<double>(now.doorbells - before.doorbells) *
                       units_.doorbell_ns.value_or(usual_doorbell_ns);
  for (std::uint8_t order = 0; order < abi::order_count; ++order) {
    const OrderUse& use = now.uses[order];
    const OrderUse& used = before.uses[order];
    balance += (use.away_mib_s - used.away_mib_s) * price_ns_ -
               pages_of(use.reused_bytes - used.reused_bytes) *
                   units_.fault_ns(abi::Order{order}).value_or(usual_fault_ns);
  }
  return balance;
}

std::optional<abi::ReportPolicy> AutoTuner::step(const Observation& now,
                                                 const abi::ReportPolicy& policy) {
  next_ns_ = now.now_ns + period_ns;
  if (!last_ || now.now_ns <= last_->now_ns) {
    last_ = now;
    changed_ns_ = now.now_ns;
    return std::nullopt;
  }
  const double seconds = static_cast<double>(now.now_ns - last_->now_ns) / 1e9;
  balance_ns_ = balance_ns_ * std::exp(-seconds / fade_seconds) + balance_ns(*last_, now);
  last_ = now;

  abi::ReportPolicy wanted = policy;
  const std::uint64_t shortest = half_life_ns();
  if (balance_ns_ < -loss_ns) {
    wanted.delay_ns = std::min(policy.delay_ns * 2, shortest * longest_times);
  } else if (policy.delay_ns > shortest && now.now_ns - changed_ns_ >= retry_ns) {
    wanted.delay_ns = std::max(policy.delay_ns / 2, shortest);
  }
  if (wanted.delay_ns == policy.delay_ns) {
    return std::nullopt;
  }
  balance_ns_ = 0;
  changed_ns_ = now.now_ns;
  return wanted;
}

} // namespace vmm
