// SPDX-License-Identifier: MIT
// The protocol over a whole trace.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/trace/model.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

struct CheckResult {
  // The first of them, in order; `violation_count` counts all.
  std::vector<Violation> violations;
  std::uint64_t violation_count = 0;
  std::uint64_t records = 0;
  std::uint64_t unfinished = 0; // records in the making when the writer was killed
  bool incomplete = false;      // the end is missing, which is no violation
  bool guest_complete = false;  // what needs the guest's events was checked
  std::uint64_t guest_lost = 0;
};

inline constexpr std::size_t max_violations_kept = 20;

[[nodiscard]] CheckResult check(const TraceSource& source);

} // namespace hvtrace
