// SPDX-License-Identifier: MIT
#include <sys/time.h>
#include <sys/times.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "guest/linux/process/process.hpp"

namespace guest::linux {

namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;
constexpr std::int64_t ns_per_tick = 10'000'000; // of times(): AT_CLKTCK is 100
// Clocks as seen since boot; the processor's time is taken for the time that has passed.
constexpr std::uint64_t realtime_clocks =
    (1U << CLOCK_REALTIME) | (1U << CLOCK_REALTIME_COARSE) | (1U << CLOCK_TAI);
constexpr std::uint64_t boot_clocks =
    (1U << CLOCK_MONOTONIC) | (1U << CLOCK_MONOTONIC_RAW) | (1U << CLOCK_MONOTONIC_COARSE) |
    (1U << CLOCK_BOOTTIME) | (1U << CLOCK_PROCESS_CPUTIME_ID) | (1U << CLOCK_THREAD_CPUTIME_ID);

bool is_one_of(std::uint64_t clock, std::uint64_t clocks) {
  return clock < 64 && ((clocks >> clock) & 1) != 0;
}

timespec to_timespec(std::int64_t ns) {
  return {ns / ns_per_second, ns % ns_per_second};
}

} // namespace

Answer Process::sys_clock_gettime(const Args& args) {
  std::int64_t now = 0;
  if (is_one_of(args[0], boot_clocks)) {
    now = static_cast<std::int64_t>(machine_.now_ns());
  } else if (is_one_of(args[0], realtime_clocks)) {
    now = realtime_ns();
  } else {
    return -EINVAL;
  }
  return store(args[1], to_timespec(now)) ? 0 : -EFAULT;
}

Answer Process::sys_clock_getres(const Args& args) {
  if (!is_one_of(args[0], boot_clocks | realtime_clocks)) {
    return -EINVAL;
  }
  return args[1] == 0 || store(args[1], timespec{0, 1}) ? 0 : -EFAULT;
}

Answer Process::sys_gettimeofday(const Args& args) {
  const timespec now = to_timespec(realtime_ns());
  return args[0] == 0 || store(args[0], timeval{now.tv_sec, now.tv_nsec / 1000}) ? 0 : -EFAULT;
}

Answer Process::sys_time(const Args& args) {
  const time_t now = to_timespec(realtime_ns()).tv_sec;
  return args[0] == 0 || store(args[0], now) ? now : -EFAULT;
}

Answer Process::sys_times(const Args& args) {
  const auto ticks = static_cast<std::int64_t>(machine_.now_ns()) / ns_per_tick;
  const tms used{.tms_utime = ticks, .tms_stime = 0, .tms_cutime = 0, .tms_cstime = 0};
  return args[0] == 0 || store(args[0], used) ? ticks : -EFAULT;
}

bool Process::sleep_until(std::uint64_t deadline_ns) {
  contents_.rest_until(deadline_ns);
  // A call that unblocks signals may find one waiting.
  for (; !is_diverted(); receive_signals()) {
    if (machine_.now_ns() >= deadline_ns) {
      return true;
    }
    machine_.sleep_until_ns(deadline_ns);
  }
  return false;
}

Answer Process::sys_nanosleep(const Args& args) {
  return sys_clock_nanosleep({CLOCK_MONOTONIC, 0, args[0], args[1], 0, 0});
}

Answer Process::sys_clock_nanosleep(const Args& args) {
  timespec wanted{};
  if (!fetch(args[2], wanted)) {
    return -EFAULT;
  }
  if (wanted.tv_nsec < 0 || wanted.tv_nsec >= ns_per_second || wanted.tv_sec < 0) {
    return -EINVAL;
  }
  const bool realtime = is_one_of(args[0], realtime_clocks);
  if (!realtime && !is_one_of(args[0], boot_clocks)) {
    return -EINVAL;
  }
  std::int64_t ns = 0;
  if (__builtin_mul_overflow(wanted.tv_sec, ns_per_second, &ns) ||
      __builtin_add_overflow(ns, wanted.tv_nsec, &ns)) {
    ns = INT64_MAX / 2; // centuries
  }
  const auto now = static_cast<std::int64_t>(machine_.now_ns());
  std::int64_t until = 0;
  if ((args[1] & TIMER_ABSTIME) == 0) {
    until = ns > INT64_MAX / 2 - now ? INT64_MAX / 2 : now + ns;
  } else {
    until = realtime ? ns - start_.realtime_ns : ns;
  }
  if (until <= now || sleep_until(static_cast<std::uint64_t>(until))) {
    return 0;
  }
  if ((args[1] & TIMER_ABSTIME) == 0 && args[3] != 0) {
    const auto left =
        std::max(until - static_cast<std::int64_t>(machine_.now_ns()), std::int64_t{0});
    if (!store(args[3], to_timespec(left))) {
      return -EFAULT;
    }
  }
  return -EINTR;
}

} // namespace guest::linux
