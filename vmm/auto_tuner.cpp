// SPDX-License-Identifier: MIT
#include "vmm/auto_tuner.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "shared/report_channel.hpp"
#include "vmm/units.hpp"

namespace vmm {
namespace {

// Where a unit could not be measured: of the order of what hardware virtualisation costs.
constexpr double usual_doorbell_ns = 5'000;
constexpr double usual_fault_ns = 1'000;
constexpr double usual_call_ns = 1'000; // a range, before any was discarded

constexpr double usual_rate = 1'000; // ranges a second, before any was seen
constexpr double smoothing = 0.3;    // weight of the last period in a rate
constexpr double longest_window_s = 30;
constexpr std::uint64_t keep_step_bytes = 4 * mib; // keep is changed by at least this much
// An order is left only for one that is better by this part: each change costs the guest a look at
// its free lists.
constexpr double margin = 0.05;

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

abi::ReportPolicy AutoTuner::first(const abi::ReportPolicy& policy) const {
  abi::ReportPolicy chosen = policy;
  // Where a return is dear, only large blocks are likely to stay away long enough.
  const double seconds = break_even_seconds(abi::Order{4});
  chosen.order = seconds < 0.5 ? 2 : seconds < 4 ? 4 : 7;
  chosen.batch = best_batch(abi::Order{static_cast<std::uint8_t>(chosen.order)});
  chosen.keep_bytes = 0;
  return chosen;
}

void AutoTuner::balance(const Observation& now) {
  const double seconds = static_cast<double>(now.now_ns - last_->now_ns) / 1e9;
  const double fade = std::exp(-seconds / fade_seconds);
  std::uint64_t all_ranges = 0;
  for (std::size_t order = 0; order < now.uses.size(); ++order) {
    all_ranges += now.uses[order].ranges - last_->uses[order].ranges;
  }
  const double range_ns = all_ranges == 0
                              ? 0
                              : (static_cast<double>(now.discard_ns - last_->discard_ns) +
                                 static_cast<double>(now.doorbells - last_->doorbells) *
                                     units_.doorbell_ns.value_or(usual_doorbell_ns)) /
                                    static_cast<double>(all_ranges);
  for (std::uint8_t order = 0; order < abi::order_count; ++order) {
    const OrderUse& use = now.uses[order];
    const OrderUse& before = last_->uses[order];
    const auto ranges = static_cast<double>(use.ranges - before.ranges);
    const double cost_ns =
        ranges * range_ns + pages_of(use.reused_bytes - before.reused_bytes) *
                                units_.fault_ns(abi::Order{order}).value_or(usual_fault_ns);
    const double worth_ns = (use.away_mib_s - before.away_mib_s) * price_ns_;
    balance_ns_[order] = balance_ns_[order] * fade + worth_ns - cost_ns;
    rate_[order] += smoothing * (ranges / seconds - rate_[order]);
  }
}

abi::Order AutoTuner::best_order(abi::Order current) const {
  std::array<double, abi::order_count> sums{}; // of this order and all above
  double sum = 0;
  for (std::size_t order = abi::order_count; order-- > 0;) {
    sum += balance_ns_[order];
    sums[order] = sum;
  }
  // Of equals the smallest: an order that nothing is known of is tried.
  const auto best = std::ranges::max_element(sums);
  if (*best - sums[current.value] <= margin * std::abs(sums[current.value])) {
    // Orders below that have done neither good nor harm of late are tried one by one.
    const bool below_is_forgotten =
        current.value > 0 &&
        std::abs(balance_ns_[current.value - 1U]) <= margin * std::abs(sums[current.value]) &&
        balance_ns_[current.value] > 0;
    return below_is_forgotten ? abi::Order{static_cast<std::uint8_t>(current.value - 1)} : current;
  }
  return abi::Order{static_cast<std::uint8_t>(best - sums.begin())};
}

std::uint32_t AutoTuner::best_batch(abi::Order order) const {
  double rate = last_ ? 0 : usual_rate;
  for (std::size_t at = order.value; at < abi::order_count; ++at) {
    rate += rate_[at];
  }
  const double lot =
      std::sqrt(2 * std::max(rate, 1.0) * units_.doorbell_ns.value_or(usual_doorbell_ns) /
                (mib_of(order) * price_ns_));
  // Powers of two: a policy that hardly differs is not worth telling the guest.
  const auto wanted =
      static_cast<std::uint32_t>(std::clamp(lot, 1.0, static_cast<double>(abi::max_batch_ranges)));
  return std::bit_floor(wanted);
}

std::uint64_t AutoTuner::best_keep(const Observation& now, bool pays) {
  const auto window_ns = static_cast<std::uint64_t>(
      std::min(break_even_seconds(abi::Order{9}), longest_window_s) * 1e9);
  while (!peaks_.empty() && peaks_.back().bytes <= now.live_bytes) {
    peaks_.pop_back();
  }
  peaks_.push_back({now.now_ns, now.live_bytes});
  while (now.now_ns - peaks_.front().at_ns > window_ns) {
    peaks_.pop_front();
  }
  return pays ? 0 : peaks_.front().bytes - now.live_bytes;
}

std::optional<abi::ReportPolicy> AutoTuner::step(const Observation& now,
                                                 const abi::ReportPolicy& policy) {
  next_ns_ = now.now_ns + period_ns;
  if (!last_ || now.now_ns <= last_->now_ns) {
    last_ = now;
    return std::nullopt;
  }
  balance(now);
  last_ = now;
  const abi::Order current{static_cast<std::uint8_t>(std::min(policy.order, abi::max_order))};
  const abi::Order order = best_order(current);
  double sum = 0;
  for (std::size_t at = order.value; at < abi::order_count; ++at) {
    sum += balance_ns_[at];
  }
  abi::ReportPolicy wanted = policy;
  wanted.order = order.value;
  wanted.batch = best_batch(order);
  const std::uint64_t keep = best_keep(now, sum >= 0);
  if (keep == 0 || keep + keep_step_bytes <= policy.keep_bytes ||
      keep >= policy.keep_bytes + keep_step_bytes) {
    wanted.keep_bytes = keep;
  }
  // A batch of twice or half the size is no better to speak of.
  const bool batch_moved = wanted.batch > 2 * policy.batch || 2 * wanted.batch < policy.batch;
  if (!batch_moved && wanted.order == policy.order) {
    wanted.batch = policy.batch;
  }
  if (wanted.order == policy.order && wanted.batch == policy.batch &&
      wanted.keep_bytes == policy.keep_bytes) {
    return std::nullopt;
  }
  return wanted;
}

} // namespace vmm
