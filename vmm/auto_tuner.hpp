// SPDX-License-Identifier: MIT
// --report order=auto: moves order, batch and keep-warm reserve by the ledger of the run so far.
//
//   order  Each order must pay for itself. What hints of an order took is worth the time it stayed
//          away, and cost calls, doorbells and the faults of what came back. The report order is
//          the one from which on upwards these balances have the greatest sum; balances fade with
//          fade_seconds, so an order that was given up is tried again.
//   batch  Small batches cost doorbells, large ones let memory wait: the balance is
//          sqrt(2 rate cost / (size price)), as for the lot size of a warehouse.
//   keep   While not even the largest blocks pay, memory that was live within the time after which
//          discarding pays is kept; else nothing is.
//
// Pure: told what was measured, says what to change. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "shared/boot_info.hpp"
#include "vmm/ledger.hpp"

namespace vmm {

class AutoTuner {
 public:
  struct Observation {
    std::uint64_t now_ns = 0;
    std::uint64_t live_bytes = 0;
    std::uint64_t doorbells = 0; // so far, as are the next two
    std::uint64_t discard_ns = 0;
    OrderUses uses; // what is still away counts up to now
  };

  static constexpr std::uint64_t period_ns = 100'000'000; // between two steps
  static constexpr double fade_seconds = 10;

  AutoTuner(const UnitCosts& units, std::uint64_t memory_price_ns);

  // The policy to begin with, on top of `policy`.
  [[nodiscard]] abi::ReportPolicy first(const abi::ReportPolicy& policy) const;
  // Whether step() is due.
  [[nodiscard]] bool due(std::uint64_t now_ns) const { return now_ns >= next_ns_; }
  // Empty: leave `policy` as it is.
  std::optional<abi::ReportPolicy> step(const Observation& now, const abi::ReportPolicy& policy);

  // Seconds that 4 KiB hinted at this order must stay away to pay for its discard and its return.
  [[nodiscard]] double break_even_seconds(abi::Order order) const;

 private:
  struct LivePoint {
    std::uint64_t at_ns = 0;
    std::uint64_t bytes = 0;
  };

  void balance(const Observation& now);
  [[nodiscard]] abi::Order best_order(abi::Order current) const;
  [[nodiscard]] std::uint32_t best_batch(abi::Order order) const;
  std::uint64_t best_keep(const Observation& now, bool pays);

  const UnitCosts units_;
  const double price_ns_;
  std::uint64_t next_ns_ = 0;
  std::optional<Observation> last_;
  std::array<double, abi::order_count> balance_ns_{}; // worth minus cost, faded
  std::array<double, abi::order_count> rate_{};       // ranges a second, smoothed
  std::deque<LivePoint> peaks_;                       // of live memory: falling, within the window
};

} // namespace vmm
