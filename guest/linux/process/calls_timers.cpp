// SPDX-License-Identifier: MIT
// Timers that send signals: one for each kind of time, and as many as a program makes.
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "guest/linux/process/program_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

struct IntervalTime { // struct itimerval
  timeval interval, value;
};

} // namespace

void ProgramCalls::set_timer(std::int32_t timer, const Timers::Setting& setting) {
  self().timers.set(timer, setting);
  if (self().timers.clock(timer) == Timers::Clock::used) {
    machine_.stop_others(); // they compute, and have it in their alarms from then on
  }
  static_cast<void>(arm_alarm()); // behind the call it is looked again, anyway
}

ProgramCalls::TimerRest ProgramCalls::rest_of(std::int32_t timer) {
  const Timers::Setting setting = self().timers.setting(timer);
  if (setting.next_ns == Timers::never) {
    return {};
  }
  const std::uint64_t is = now().of(self().timers.clock(timer));
  // One that is about to run out has not yet.
  return {.left_ns = std::max(setting.next_ns, is + ns_per_us) - is,
          .interval_ns = setting.interval_ns};
}

// ---- one for each kind of time -----------------------------------------------------------------

Answer ProgramCalls::sys_setitimer(const Args& args) {
  const auto [which, value, old_value, unused3, unused4, unused5] = args;
  IntervalTime time{};
  if (value != 0 && !user_.fetch(value, time)) {
    return -EFAULT;
  }
  const Or<std::uint64_t> first = ns_of(time.value);
  const Or<std::uint64_t> interval = ns_of(time.interval);
  if (!first || !interval || which >= std::uint64_t{Timers::interval_timers}) {
    return -EINVAL;
  }
  const auto timer = static_cast<std::int32_t>(which);
  const TimerRest rest = rest_of(timer);
  set_timer(timer, *first == 0
                       ? Timers::Setting{}
                       : Timers::Setting{.next_ns = now().of(self().timers.clock(timer)) + *first,
                                         .interval_ns = *interval});
  const IntervalTime before{to_timeval(rest.interval_ns), to_timeval(rest.left_ns)};
  return old_value == 0 || user_.store(old_value, before) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_getitimer(const Args& args) {
  if (args[0] >= std::uint64_t{Timers::interval_timers}) {
    return -EINVAL;
  }
  const TimerRest rest = rest_of(static_cast<std::int32_t>(args[0]));
  return user_.store(args[1], IntervalTime{to_timeval(rest.interval_ns), to_timeval(rest.left_ns)})
             ? 0
             : -EFAULT;
}

// Seconds that are left are rounded to the nearest, but for the last.
Answer ProgramCalls::sys_alarm(const Args& args) {
  const std::uint64_t seconds = args[0] & 0xffffffff;
  const std::uint64_t left_ns = rest_of(ITIMER_REAL).left_ns;
  set_timer(ITIMER_REAL,
            seconds == 0 ? Timers::Setting{}
                         : Timers::Setting{.next_ns = now().elapsed_ns + seconds * ns_per_second,
                                           .interval_ns = 0});
  const std::uint64_t rounded = (left_ns + ns_per_second / 2) / ns_per_second;
  return static_cast<Answer>(left_ns == 0 ? 0 : std::max<std::uint64_t>(rounded, 1));
}

// ---- as many as are made -----------------------------------------------------------------------

Answer ProgramCalls::sys_timer_create(const Args& args) {
  const Or<TimerClock> clock = timer_clock(args[0]);
  if (!clock) {
    return -Answer{clock.error()};
  }
  struct { // struct sigevent
    std::uint64_t value;
    std::int32_t signal;
    std::int32_t notify;
    std::int32_t thread;
    std::int32_t rest[11];
  } event{.value = 0, .signal = SIGALRM, .notify = SIGEV_SIGNAL, .thread = 0, .rest = {}};
  static_assert(sizeof event == 64);
  if (args[1] != 0 && !user_.fetch(args[1], event)) {
    return -EFAULT;
  }
  const bool sends = event.notify == SIGEV_SIGNAL ||
                     (event.notify == SIGEV_THREAD_ID && find_thread(event.thread) != nullptr);
  if ((!sends && event.notify != SIGEV_NONE) ||
      (sends && (event.signal < 1 || std::uint64_t(event.signal) > last_signal))) {
    return -EINVAL;
  }
  const SignalCause cause{.signal = sends ? static_cast<std::uint64_t>(event.signal) : 0,
                          .value = event.value,
                          .thread = event.notify == SIGEV_THREAD_ID ? event.thread : 0};
  const Or<std::int32_t> timer = self().timers.add(clock->clock, clock->epoch_ns, cause);
  if (!timer) {
    return -Answer{timer.error()};
  }
  const std::int32_t number = *timer - Timers::interval_timers;
  if (!user_.store(args[2], number)) {
    self().timers.remove(*timer);
    return -EFAULT;
  }
  return 0;
}

// By the number that the program has of it; EINVAL.
Or<std::int32_t> ProgramCalls::timer_at(std::uint64_t number) const {
  const auto given = static_cast<std::int32_t>(number);
  const std::int64_t timer = std::int64_t{given} + Timers::interval_timers;
  if (given < 0 || !self().timers.has(timer)) {
    return std::unexpected(EINVAL);
  }
  return static_cast<std::int32_t>(timer);
}

Answer ProgramCalls::sys_timer_settime(const Args& args) {
  const Or<std::int32_t> timer = timer_at(args[0]);
  itimerspec time{};
  if (!timer) {
    return -Answer{timer.error()};
  }
  if (!user_.fetch(args[2], time)) {
    return -EFAULT;
  }
  const Or<std::uint64_t> first = ns_of(time.it_value);
  const Or<std::uint64_t> interval = ns_of(time.it_interval);
  if (!first || !interval) {
    return -EINVAL;
  }
  const TimerRest rest = rest_of(*timer);
  Timers::Setting setting;
  if (*first != 0) {
    const bool absolute = (args[1] & TIMER_ABSTIME) != 0;
    const std::int64_t next =
        static_cast<std::int64_t>(*first) -
        (absolute ? self().timers.epoch_ns(*timer)
                  : -static_cast<std::int64_t>(now().of(self().timers.clock(*timer))));
    setting = {.next_ns = next < 0 ? 0 : static_cast<std::uint64_t>(next),
               .interval_ns = *interval};
  }
  set_timer(*timer, setting);
  const itimerspec before{to_timespec(rest.interval_ns), to_timespec(rest.left_ns)};
  return args[3] == 0 || user_.store(args[3], before) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_timer_gettime(const Args& args) {
  const Or<std::int32_t> timer = timer_at(args[0]);
  if (!timer) {
    return -Answer{timer.error()};
  }
  const TimerRest rest = rest_of(*timer);
  return user_.store(args[1], itimerspec{to_timespec(rest.interval_ns), to_timespec(rest.left_ns)})
             ? 0
             : -EFAULT;
}

Answer ProgramCalls::sys_timer_getoverrun(const Args& args) {
  const Or<std::int32_t> timer = timer_at(args[0]);
  return timer ? Answer{self().timers.overruns(*timer)} : -Answer{timer.error()};
}

Answer ProgramCalls::sys_timer_delete(const Args& args) {
  const Or<std::int32_t> timer = timer_at(args[0]);
  if (!timer) {
    return -Answer{timer.error()};
  }
  self().timers.remove(*timer);
  static_cast<void>(arm_alarm()); // behind the call it is looked again, anyway
  return 0;
}

} // namespace guest::linux
