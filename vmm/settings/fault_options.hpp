// SPDX-License-Identifier: MIT
// The text of --host-fault: how often an adversarial host errs, and by how much. FaultPlan
// (vmm/hints) makes decisions of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vmm/base/result.hpp"

namespace vmm {

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

} // namespace vmm
