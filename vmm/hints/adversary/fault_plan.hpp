// SPDX-License-Identifier: MIT
// The adversarial host: which answers are late, missing, repeated, out of order, partial or
// negative. The plan only decides; Adversary carries it out.
//
// A decision depends on the seed, the channel and the number of the batch on that channel, on
// nothing else: not on the order in which threads ask.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>

#include "shared/report_channel.hpp"
#include "vmm/settings/fault_options.hpp"

namespace vmm {

enum class Fate : std::uint8_t {
  answer,  // worked on and answered
  decline, // answered as declined, nothing done
  fail,    // answered as failed, nothing done
  drop,    // discarded, late and more than once, but never answered
  stall,   // the same, because the host has stopped answering
};

enum class Repeat : std::uint8_t {
  none,
  at_once, // directly behind the first answer
  later,   // before the channel's next answer, when the guest may have reused the page
};

// Ranges of a batch with fate `answer` whose answers are settled beforehand; nothing is done to
// them. A range is in at most one of the sets.
struct RangeFates {
  std::bitset<abi::max_batch_ranges> declined, failed;

  bool operator==(const RangeFates&) const = default;
};

// What happens to one batch.
struct BatchFaults {
  Fate fate = Fate::answer;
  Repeat repeat = Repeat::none;
  bool reorder = false;
  std::uint64_t delay_ns = 0;
  double partial = 0;
  std::uint64_t range_seed = 0;
  std::optional<RangeFates> ranges{}; // never by a plan: by hand

  bool operator==(const BatchFaults&) const = default;
  [[nodiscard]] bool never_answered() const { return fate == Fate::drop || fate == Fate::stall; }
  // Whether a range of a batch with fate `answer` is left alone, and declined or failed.
  [[nodiscard]] bool declines_range(std::uint32_t range) const;
  [[nodiscard]] bool fails_range(std::uint32_t range) const {
    return ranges && ranges->failed.test(range);
  }
  [[nodiscard]] bool settles_ranges() const { return partial > 0 || ranges.has_value(); }
};

// Immutable, so any thread may ask.
class FaultPlan {
 public:
  FaultPlan() = default; // nothing happens
  FaultPlan(const FaultOptions& options, std::uint64_t seed) : options_(options), seed_(seed) {}

  // `number` counts the batches taken from the channel, from 0.
  [[nodiscard]] BatchFaults decide(unsigned channel, std::uint64_t number) const;
  [[nodiscard]] bool any() const { return options_.any(); }

 private:
  FaultOptions options_;
  std::uint64_t seed_ = 0;
};

} // namespace vmm
