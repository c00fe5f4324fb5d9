// SPDX-License-Identifier: MIT
// --report order=auto: a policy from what single events cost on this machine, watched by the ledger
// of the run.
//
// Strategy: decay. The guest lets free memory go by halves, so what is wanted again soon is there.
//
// Half-life: grows with the square of the break-even time of a page. What a program has not wanted
// for some milliseconds it seldom wants within the tenths of a second in which a cheap return pays,
// but it may well do so within the seconds that a dear one needs. While the ledger of the last
// seconds shows a loss it doubles; later the shorter one is tried again.
//
// Order: where a return is cheap, single pages; one order more for each doubling of what it costs.
// Where huge pages are behind the guest, those.
//
// Batch: 64. More exits saved would not be worth the wait.
//
// Pure: told what was measured, says what to change. One thread.
#pragma once

#include <cstdint>
#include <optional>

#include "shared/boot_info.hpp"
#include "vmm/ledger.hpp"

namespace vmm {

class AutoTuner {
 public:
  struct Observation {
    std::uint64_t now_ns = 0;
    std::uint64_t doorbells = 0; // so far, as are the next two
    std::uint64_t discard_ns = 0;
    OrderUses uses; // what is still away counts up to now
  };

  static constexpr std::uint64_t period_ns = 100'000'000; // between two steps
  static constexpr double fade_seconds = 10;              // of the balance
  static constexpr std::uint64_t retry_ns = 30'000'000'000;
  static constexpr double loss_ns = 150'000'000; // that makes the half-life double
  // Of a page that has to stay away for a second to pay.
  static constexpr double half_life_at_1_s = 1.0 / 32;
  static constexpr double shortest_seconds = 0.007;
  static constexpr double longest_seconds = 20;
  // How far it doubles.
  static constexpr std::uint64_t longest_times = 64;

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
  [[nodiscard]] abi::Order order() const;
  [[nodiscard]] std::uint64_t half_life_ns() const;
  // What the time between the two was worth, minus what it cost.
  [[nodiscard]] double balance_ns(const Observation& before, const Observation& now) const;

  const UnitCosts units_;
  const double price_ns_;
  std::uint64_t next_ns_ = 0;
  std::uint64_t changed_ns_ = 0;
  std::optional<Observation> last_;
  double balance_ns_ = 0; // faded
};

} // namespace vmm
