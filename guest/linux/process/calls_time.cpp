// SPDX-License-Identifier: MIT
// Clocks, and sleeping by them.
#include <sys/time.h>
#include <sys/times.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "guest/linux/process/clock_base.hpp"
#include "guest/linux/process/program_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

constexpr std::int64_t ns_per_tick = 10'000'000; // of times(): AT_CLKTCK is 100

timespec to_timespec(std::int64_t ns) {
  return {ns / signed_ns_per_second, ns % signed_ns_per_second};
}

} // namespace

// Of a clock that shows what a thread has used of the processor (pthread_getcpuclockid(3)).
const Thread* ProgramCalls::thread_of_clock(std::uint64_t clock) const {
  constexpr std::int32_t kind = 7; // of a clock by number: CPUCLOCK_SCHED, of a thread
  constexpr std::int32_t used_by_thread = 6;
  const auto number = static_cast<std::int32_t>(clock);
  const std::int32_t id = ~(number >> 3);
  const bool is_numbered = number < 0 && (number & kind) == used_by_thread;
  if (number == CLOCK_THREAD_CPUTIME_ID || (is_numbered && id == 0)) {
    return &scheduler_.running();
  }
  return is_numbered ? find_thread(id) : nullptr;
}

Or<std::int64_t> ProgramCalls::clock_ns(std::uint64_t clock) {
  if (const Thread* const thread = thread_of_clock(clock); thread != nullptr) {
    return static_cast<std::int64_t>(scheduler_.used_ns(*thread));
  }
  switch (clock_base(clock, self().id)) {
  case ClockBase::boot:
    return static_cast<std::int64_t>(machine_.now_ns());
  case ClockBase::epoch:
    return realtime_ns();
  case ClockBase::used:
    return static_cast<std::int64_t>(now().used_ns);
  case ClockBase::none:
    break;
  }
  return std::unexpected(EINVAL);
}

Answer ProgramCalls::sys_clock_gettime(const Args& args) {
  const Or<std::int64_t> now = clock_ns(args[0]);
  if (!now) {
    return -Answer{now.error()};
  }
  return user_.store(args[1], to_timespec(*now)) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_clock_getres(const Args& args) {
  if (clock_base(args[0], self().id) == ClockBase::none && thread_of_clock(args[0]) == nullptr) {
    return -EINVAL;
  }
  return args[1] == 0 || user_.store(args[1], timespec{0, 1}) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_gettimeofday(const Args& args) {
  const timespec now = to_timespec(realtime_ns());
  return args[0] == 0 || user_.store(args[0], timeval{now.tv_sec, now.tv_nsec / 1000}) ? 0
                                                                                       : -EFAULT;
}

Answer ProgramCalls::sys_time(const Args& args) {
  const time_t now = to_timespec(realtime_ns()).tv_sec;
  return args[0] == 0 || user_.store(args[0], now) ? now : -EFAULT;
}

Answer ProgramCalls::sys_times(const Args& args) {
  const Timers::Now is = now();
  const auto ticks = static_cast<std::int64_t>(is.elapsed_ns) / ns_per_tick;
  const tms used{.tms_utime = static_cast<std::int64_t>(is.used_ns) / ns_per_tick,
                 .tms_stime = 0,
                 .tms_cutime = 0,
                 .tms_cstime = 0};
  return args[0] == 0 || user_.store(args[0], used) ? ticks : -EFAULT;
}

bool ProgramCalls::sleep_until(std::uint64_t deadline_ns) {
  // A call that unblocks signals may find one waiting.
  while (!is_diverted()) {
    if (machine_.now_ns() >= deadline_ns) {
      return true;
    }
    rest_until(deadline_ns);
  }
  return false;
}

Answer ProgramCalls::sys_nanosleep(const Args& args) {
  return sys_clock_nanosleep({CLOCK_MONOTONIC, 0, args[0], args[1], 0, 0});
}

Answer ProgramCalls::sys_clock_nanosleep(const Args& args) {
  timespec wanted{};
  if (!user_.fetch(args[2], wanted)) {
    return -EFAULT;
  }
  if (wanted.tv_nsec < 0 || wanted.tv_nsec >= signed_ns_per_second || wanted.tv_sec < 0) {
    return -EINVAL;
  }
  const ClockBase base = clock_base(args[0], self().id);
  if (base == ClockBase::none || base == ClockBase::used) {
    return base == ClockBase::none ? -EINVAL : -EOPNOTSUPP; // it does not go on in a sleep
  }
  std::int64_t ns = 0;
  if (__builtin_mul_overflow(wanted.tv_sec, signed_ns_per_second, &ns) ||
      __builtin_add_overflow(ns, wanted.tv_nsec, &ns)) {
    ns = INT64_MAX / 2; // centuries
  }
  const auto now = static_cast<std::int64_t>(machine_.now_ns());
  std::int64_t until = 0;
  if ((args[1] & TIMER_ABSTIME) == 0) {
    until = ns > INT64_MAX / 2 - now ? INT64_MAX / 2 : now + ns;
  } else {
    until = base == ClockBase::epoch ? ns - start_.realtime_ns : ns;
  }
  if (until <= now || sleep_until(static_cast<std::uint64_t>(until))) {
    return 0;
  }
  if ((args[1] & TIMER_ABSTIME) == 0 && args[3] != 0) {
    const auto left =
        std::max(until - static_cast<std::int64_t>(machine_.now_ns()), std::int64_t{0});
    if (!user_.store(args[3], to_timespec(left))) {
      return -EFAULT;
    }
  }
  return -EINTR;
}

} // namespace guest::linux
