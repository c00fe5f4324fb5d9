// SPDX-License-Identifier: MIT
// The adversarial host: which answers are late, missing, repeated, out of order, partial or
// negative. The plan only decides; HintService carries it out.
//
// A decision depends on the seed, the channel and the number of the batch on that channel, on
// nothing else: not on the order in which threads ask.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>

#include "shared/report_channel.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

// The text of --host-fault.
struct FaultOptions {
  std::uint64_t delay_ns = 0;                 // every answer comes that much later
  double drop = 0;                            // batches that are never answered
  double duplicate = 0;                       // batches whose answer is written twice
  double partial = 0;                         // ranges that are declined
  double decline = 0;                         // batches that are declined whole
  double fail = 0;                            // batches that are answered as failed
  bool reorder = false;                       // every other answer waits for the one after it
  std::optional<std::uint64_t> stall_after{}; // batches of a channel that are answered at all

  [[nodiscard]] bool any() const {
    return delay_ns != 0 || drop > 0 || duplicate > 0 || partial > 0 || decline > 0 || fail > 0 ||
           reorder || stall_after.has_value();
  }
};

// Longest delay of an answer.
inline constexpr std::uint64_t max_fault_delay_ns = 10'000'000'000;

// Any of delay=TIME, drop=, duplicate=, partial=, decline=, fail= (fractions), reorder and
// stall-after=N by commas, each at most once. Errors are of class user.
Result<FaultOptions> parse_fault_options(std::string_view text);

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
  FaultPlan() = default; // an honest host
  FaultPlan(const FaultOptions& options, std::uint64_t seed) : options_(options), seed_(seed) {}

  // `number` counts the batches taken from the channel, from 0.
  [[nodiscard]] BatchFaults decide(unsigned channel, std::uint64_t number) const;
  [[nodiscard]] bool any() const { return options_.any(); }

 private:
  FaultOptions options_;
  std::uint64_t seed_ = 0;
};

} // namespace vmm
