// SPDX-License-Identifier: MIT
#include "vmm/measure/run_times.hpp"

#include <sys/resource.h>

namespace vmm {

std::optional<std::uint64_t> RunTimes::boot_ns() const {
  return workload_begin_ns != 0 ? std::optional(workload_begin_ns - first_run_ns) : std::nullopt;
}

RunTimes::Usage RunTimes::used() const {
  return workload_end_ns != 0 ? Usage{at_end.minor_faults - at_begin.minor_faults,
                                      at_end.cpu_seconds - at_begin.cpu_seconds}
                              : Usage{};
}

RunTimes::Usage process_usage() {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  rusage usage = {};
  static_cast<void>(::getrusage(RUSAGE_SELF, &usage)); // cannot fail
  return {static_cast<std::uint64_t>(usage.ru_minflt),
          seconds(usage.ru_utime) + seconds(usage.ru_stime)};
}

} // namespace vmm
