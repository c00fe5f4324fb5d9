// SPDX-License-Identifier: MIT
#include "guest/linux/signals/timers.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

namespace guest::linux {

Timers::Timers() {
  const auto of_setitimer = [this](Clock clock, std::uint64_t signal) {
    Timer& timer = timers_.emplace_back();
    timer.clock = clock;
    timer.cause = {.signal = signal, .code = SI_KERNEL};
  };
  of_setitimer(Clock::elapsed, SIGALRM);
  of_setitimer(Clock::used, SIGVTALRM);
  of_setitimer(Clock::used, SIGPROF);
}

Or<std::int32_t> Timers::add(Clock clock, std::int64_t epoch_ns, const SignalCause& cause) {
  auto slot = std::ranges::find(timers_, false, &Timer::exists);
  if (slot == timers_.end()) {
    if (timers_.size() == most) {
      return std::unexpected(EAGAIN);
    }
    slot = timers_.insert(slot, Timer{});
  }
  const auto number = static_cast<std::int32_t>(slot - timers_.begin());
  *slot = {};
  slot->clock = clock;
  slot->epoch_ns = epoch_ns;
  slot->cause = cause;
  slot->cause.code = SI_TIMER;
  slot->cause.timer = number - interval_timers;
  return number;
}

void Timers::remove(std::int32_t timer) {
  Timer& removed = timers_[static_cast<std::size_t>(timer)];
  removed = {};
  removed.exists = false;
  note_any_set();
}

void Timers::remove_made() {
  timers_.resize(interval_timers);
  note_any_set();
}

bool Timers::has(std::int64_t timer) const {
  return timer >= 0 && timer < static_cast<std::int64_t>(timers_.size()) &&
         at(static_cast<std::int32_t>(timer)).exists;
}

void Timers::set(std::int32_t timer, const Setting& setting) {
  Timer& changed = timers_[static_cast<std::size_t>(timer)];
  changed.setting = setting;
  changed.missed = 0;
  note_any_set();
}

void Timers::note_any_set() {
  any_set_ = std::ranges::any_of(timers_,
                                 [](const Timer& timer) { return timer.setting.next_ns != never; });
}

std::uint64_t Timers::next_while_computing_ns(const Now& now) const {
  std::uint64_t next = never;
  for (const Timer& timer : timers_) {
    if (timer.setting.next_ns != never) {
      const std::uint64_t is = now.of(timer.clock);
      const std::uint64_t left = timer.setting.next_ns > is ? timer.setting.next_ns - is : 0;
      next = std::min(next,
                      now.elapsed_ns + (timer.clock == Clock::used ? left / now.processors : left));
    }
  }
  return next;
}

std::uint64_t Timers::next_while_sleeping_ns() const {
  std::uint64_t next = never;
  for (const Timer& timer : timers_) {
    next = timer.clock == Clock::elapsed ? std::min(next, timer.setting.next_ns) : next;
  }
  return next;
}

std::optional<SignalCause> Timers::take(const Now& now, SignalSet waiting) {
  for (Timer& timer : timers_) {
    const std::uint64_t is = now.of(timer.clock);
    if (timer.setting.next_ns > is) {
      continue;
    }
    const std::uint64_t interval = timer.setting.interval_ns;
    const std::uint64_t times = interval == 0 ? 1 : 1 + (is - timer.setting.next_ns) / interval;
    timer.setting.next_ns = interval == 0 ? never : timer.setting.next_ns + times * interval;
    note_any_set();
    if (timer.cause.signal == 0 || (waiting & set_of(timer.cause.signal)) != 0) {
      timer.missed += times;
      continue;
    }
    timer.missed = times - 1;
    return timer.cause;
  }
  return std::nullopt;
}

std::int32_t Timers::deliver(std::int32_t timer) {
  if (!has(timer)) {
    return 0;
  }
  Timer& delivered = timers_[static_cast<std::size_t>(timer)];
  delivered.overruns =
      static_cast<std::int32_t>(std::min<std::uint64_t>(delivered.missed, INT_MAX));
  delivered.missed = 0;
  return delivered.overruns;
}

} // namespace guest::linux
