// SPDX-License-Identifier: MIT
// When a run came to its turning points, and what the process had used by then.
#pragma once

#include <cstdint>
#include <optional>

namespace vmm {

struct RunTimes {
  std::uint64_t first_run_ns = 0;      // monotonic clock
  std::uint64_t workload_begin_ns = 0; // 0: never got there
  std::uint64_t workload_end_ns = 0;   // 0: never got there
  // Of the process at these moments.
  struct Usage {
    std::uint64_t minor_faults = 0;
    double cpu_seconds = 0; // guest, user and system
  };
  Usage at_begin;
  Usage at_end;

  // From the first KVM_RUN to the workload's beginning; empty when it never began.
  [[nodiscard]] std::optional<std::uint64_t> boot_ns() const;
  // By the workload, guest time included; nothing when it did not end.
  [[nodiscard]] Usage used() const;
};

// Of this process until now.
[[nodiscard]] RunTimes::Usage process_usage();

} // namespace vmm
