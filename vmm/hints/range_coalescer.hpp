// SPDX-License-Identifier: MIT
// Turns the accepted ranges of a batch into few, disjoint, sorted runs, because one call for a
// megabyte costs less than one for each of its pages. Pure: no system calls, no state.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vmm/hints/batch_validator.hpp"

namespace vmm {

// What to do with a span, the isolated block around a group of hints.
enum class SpanUse : std::uint8_t {
  whole,      // discard all of the block: one call, and a huge page goes back whole
  hints_only, // discard what is hinted and nothing else
};

struct RunSelection {
  SpanUse span_use = SpanUse::whole;
  // Hints and spans of a smaller order are left out, unless the hint lies in a span that is
  // discarded whole.
  abi::Order smallest{0};
};

// [start, start + bytes); its ranges are members [first_member, first_member + member_count).
struct Run {
  abi::Gpa start;
  std::uint64_t bytes = 0;
  std::uint32_t first_member = 0;
  std::uint32_t member_count = 0;
};

struct CoalescedRuns {
  std::array<Run, abi::max_batch_ranges> run_storage;
  std::array<std::uint16_t, abi::max_batch_ranges> member_storage;
  std::uint32_t run_count = 0;

  // Sorted by address, with a gap between any two.
  [[nodiscard]] std::span<const Run> runs() const { return {run_storage.data(), run_count}; }
  // Descriptor numbers of a run's ranges, sorted by address.
  [[nodiscard]] std::span<const std::uint16_t> members(const Run& run) const {
    return {member_storage.data() + run.first_member, run.member_count};
  }
};

// The runs cover the selected ranges and not a byte more; every selected range is a member of
// exactly one run. Selected are accepted hints and, with SpanUse::whole, accepted spans. At most
// max_batch_ranges ranges.
void coalesce(std::span<const CheckedRange> ranges, RunSelection selection, CoalescedRuns& out);

} // namespace vmm
