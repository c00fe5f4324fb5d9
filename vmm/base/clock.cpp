// SPDX-License-Identifier: MIT
#include "vmm/base/clock.hpp"

#include <chrono>
#include <ctime>
#include <thread>

namespace vmm {
namespace {

std::uint64_t read_clock_ns(clockid_t clock) {
  timespec now = {};
  // Cannot fail: both clocks are always there.
  static_cast<void>(::clock_gettime(clock, &now));
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace

std::uint64_t monotonic_ns() {
  return read_clock_ns(CLOCK_MONOTONIC);
}

void monotonic_wait_ns(std::uint64_t duration_ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(duration_ns));
}

std::uint64_t thread_cpu_ns() {
  return read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

} // namespace vmm
