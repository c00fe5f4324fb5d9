// SPDX-License-Identifier: MIT
#include "vmm/measure/run_times.hpp"

#include <sys/resource.h>

namespace vmm {

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
