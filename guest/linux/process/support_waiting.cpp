// SPDX-License-Identifier: MIT
// How calls wait: until a file is ready, or a time has come; and what happens when all threads do.
#include <algorithm>
#include <cerrno>
#include <ctime>

#include "guest/linux/process/call_support.hpp"
#include "guest/linux/process/clock_base.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

Answer CallSupport::wait_for_stream(const OpenFile& file, Readiness wanted,
                                    std::uint64_t timeout_ns) {
  const std::uint64_t until =
      timeout_ns == wait_for_ever ? Machine::never : machine_.now_ns() + timeout_ns;
  scheduler_.running().held.push_back(file.shared_from_this());
  scheduler_.wake_watchers(); // for what the call has moved before it has to wait
  for (;;) {
    if (file.file->ready_for(wanted).value_or(abi::file_hung_up) != 0 ||
        (until != Machine::never && machine_.now_ns() >= until)) {
      return 0;
    }
    if (is_diverted()) {
      return restart;
    }
    const std::uint64_t first = std::min(until, file.file->ready_at_ns());
    if (file.file->may_become_ready()) {
      if (const int error = file.file->watch(wanted); error != 0) {
        return -Answer{error};
      }
    } else if (first == Machine::never && is_only_thread() && !may_be_interrupted()) {
      return -EDEADLK; // nobody is there to end it
    }
    rest_until(first, Scheduler::Wakes::by_any_files);
  }
}

// Others may have been in the kernel meanwhile.
bool CallSupport::sleep_until_ns(std::uint64_t deadline) {
  const bool is_awaited = machine_.sleep_until_ns(deadline);
  scheduler_.note_vcpu(machine_.vcpu());
  return is_awaited;
}

void CallSupport::idle_until_ns(std::uint64_t deadline) {
  if (!scheduler_.has_run_here()) { // nobody is there whom signals could be for
    if (sleep_until_ns(deadline)) {
      scheduler_.wake_watchers();
    }
    return;
  }
  const std::uint64_t began_ns = machine_.now_ns();
  std::uint64_t wake_ns = deadline;
  for (const auto& process : processes_) {
    wake_ns = std::min(wake_ns, process->timers.next_while_sleeping_ns());
  }
  // Nobody knows how long: what lies in the guest of files may be wanted again soon.
  std::uint64_t first_ns = wake_ns;
  if (wake_ns == Machine::never && !contents_.is_empty()) {
    first_ns = began_ns + HostContents::unused_time_ns;
  }
  contents_.rest_until(first_ns == wake_ns ? wake_ns : began_ns);
  if (!sleep_until_ns(first_ns) && first_ns != wake_ns) {
    contents_.rest_until(wake_ns);
    static_cast<void>(sleep_until_ns(wake_ns));
  }
  scheduler_.wake_watchers(); // one of them may have a stream that is ready now
  receive_signals();
}

// ---- times -------------------------------------------------------------------------------------

Or<std::uint64_t> CallSupport::timeout_at(std::uint64_t address) const {
  timespec time{};
  if (address == 0) {
    return wait_for_ever;
  }
  if (!user_.fetch(address, time)) {
    return std::unexpected(EFAULT);
  }
  if (time.tv_sec < 0 || time.tv_nsec < 0 ||
      time.tv_nsec >= static_cast<std::int64_t>(ns_per_second)) {
    return std::unexpected(EINVAL);
  }
  const auto seconds = std::min(static_cast<std::uint64_t>(time.tv_sec), most_timeout_seconds);
  return seconds * ns_per_second + static_cast<std::uint64_t>(time.tv_nsec);
}

Or<CallSupport::TimerClock> CallSupport::timer_clock(std::uint64_t clock) const {
  switch (clock_base(clock, self().id)) {
  case ClockBase::boot:
    return TimerClock{.clock = Timers::Clock::elapsed, .epoch_ns = 0};
  case ClockBase::epoch:
    return TimerClock{.clock = Timers::Clock::elapsed, .epoch_ns = start_.realtime_ns};
  case ClockBase::used:
    return TimerClock{.clock = Timers::Clock::used, .epoch_ns = 0};
  case ClockBase::none:
    break;
  }
  return std::unexpected(EINVAL);
}

bool CallSupport::any_timers() const {
  return std::ranges::any_of(processes_, [](const auto& p) { return p->timers.any_set(); });
}

// Setting a timer is dear, and being interrupted too early does no harm: an alarm for other threads
// that is set already stays.
bool CallSupport::arm_alarm() {
  const std::uint64_t tick_ns = scheduler_.next_tick_ns();
  const bool has_timers = any_timers();
  Alarm& alarm = alarms_[machine_.vcpu()];
  if (tick_ns == Machine::never && alarm.tick_ns == Machine::never && !has_timers &&
      !alarm.is_set) {
    return false;
  }
  const std::uint64_t now_ns = machine_.now_ns();
  if (alarm.tick_ns > tick_ns || alarm.tick_ns <= now_ns) {
    alarm.tick_ns = tick_ns;
  }
  std::uint64_t next_ns = alarm.tick_ns;
  for (const auto& process : processes_) {
    if (process->timers.any_set()) {
      next_ns = std::min(next_ns, process->timers.next_while_computing_ns(now_of(*process)));
    }
  }
  alarm.is_set = next_ns != Machine::never;
  return machine_.set_alarm_ns(next_ns);
}

} // namespace guest::linux
