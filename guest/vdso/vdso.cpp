// SPDX-License-Identifier: MIT
// The vdso (vdso(7)): a shared library that the kernel maps into every program. C libraries and Go
// ask it for the time. Linked alone, by linker/vdso.ld.S; it has one page and no relocations.
#include <sys/syscall.h>
#include <sys/time.h>

#include <cstdint>
#include <ctime>

#include "guest/arch/cpu.hpp"
#include "guest/arch/linux_call.hpp"
#include "guest/arch/vdso_clock.hpp"

namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;
constexpr std::int64_t ns_per_us = 1000;

// Filled in by the kernel. Volatile: what the compiler sees is all zero.
[[gnu::section(".vdso_clock"), gnu::used]] const volatile guest::VdsoClock clock_parameters;

// As guest::Clock.
std::int64_t monotonic_ns() {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t ticks = guest::arch::rdtsc() - clock_parameters.start_tsc;
  return static_cast<std::int64_t>((Wide{ticks} * clock_parameters.ns_per_tick) >> 32);
}

std::int64_t realtime_ns() {
  return clock_parameters.realtime_ns + monotonic_ns();
}

} // namespace

extern "C" {

// Clocks of used time, and those that there are not, are the kernel's: C libraries do not ask
// again.
int __vdso_clock_gettime(clockid_t clock, timespec* time) {
  std::int64_t now = 0;
  switch (clock) {
  case CLOCK_MONOTONIC:
  case CLOCK_MONOTONIC_RAW:
  case CLOCK_MONOTONIC_COARSE:
  case CLOCK_BOOTTIME:
    now = monotonic_ns();
    break;
  case CLOCK_REALTIME:
  case CLOCK_REALTIME_COARSE:
  case CLOCK_TAI:
    now = realtime_ns();
    break;
  default:
    return static_cast<int>(guest::arch::linux_call(SYS_clock_gettime,
                                                    static_cast<std::uint64_t>(clock),
                                                    reinterpret_cast<std::uint64_t>(time)));
  }
  time->tv_sec = now / ns_per_second;
  time->tv_nsec = now % ns_per_second;
  return 0;
}

int __vdso_gettimeofday(timeval* time, void* /*zone*/) {
  const std::int64_t now = realtime_ns();
  if (time != nullptr) {
    time->tv_sec = now / ns_per_second;
    time->tv_usec = now % ns_per_second / ns_per_us;
  }
  return 0;
}

time_t __vdso_time(time_t* time) {
  const time_t now = realtime_ns() / ns_per_second;
  if (time != nullptr) {
    *time = now;
  }
  return now;
}

int __vdso_getcpu(unsigned* cpu, unsigned* node, void* /*unused*/) {
  if (cpu != nullptr) {
    *cpu = guest::arch::vcpu_page().vcpu;
  }
  if (node != nullptr) {
    *node = 0;
  }
  return 0;
}

} // extern "C"
