// SPDX-License-Identifier: MIT
// The timers of a process: the three of setitimer and those of timer_create. Pure: whoever has the
// clocks says what time it is.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/signal_set.hpp"
#include "guest/linux/signals/signals.hpp"

namespace guest::linux {

class Timers {
 public:
  // What a timer goes by: the time that passes, or the processor's that the program has used.
  enum class Clock : std::uint8_t { elapsed, used };
  // Both of them, in ns.
  struct Now {
    std::uint64_t elapsed_ns = 0;
    std::uint64_t used_ns = 0;
    unsigned processors = 1; // how many it uses, now
    [[nodiscard]] std::uint64_t of(Clock clock) const {
      return clock == Clock::elapsed ? elapsed_ns : used_ns;
    }
  };
  static constexpr std::uint64_t never = UINT64_MAX;
  struct Setting {
    std::uint64_t next_ns = never; // of its clock
    std::uint64_t interval_ns = 0; // 0: once
  };

  Timers();

  // ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF are timers 0, 1 and 2, and always there.
  static constexpr std::int32_t interval_timers = 3;
  static constexpr std::size_t most = 128;
  // A new one, which is off. `cause` is what it sends, by its signal and value; signal 0: nothing.
  // `epoch_ns` is what its clock shows for the program when it shows 0 here. EAGAIN: too many.
  [[nodiscard]] Or<std::int32_t> add(Clock clock, std::int64_t epoch_ns, const SignalCause& cause);
  // Of a timer that there is.
  void remove(std::int32_t timer);
  // All that were added.
  void remove_made();
  [[nodiscard]] bool has(std::int64_t timer) const;
  void set(std::int32_t timer, const Setting& setting);
  [[nodiscard]] Setting setting(std::int32_t timer) const { return at(timer).setting; }
  [[nodiscard]] Clock clock(std::int32_t timer) const { return at(timer).clock; }
  [[nodiscard]] std::int64_t epoch_ns(std::int32_t timer) const { return at(timer).epoch_ns; }
  // The program gets a signal of that timer, if there is one: how often it has run out meanwhile.
  [[nodiscard]] std::int32_t deliver(std::int32_t timer);
  // The same of the last one.
  [[nodiscard]] std::int32_t overruns(std::int32_t timer) const { return at(timer).overruns; }

  // Asked with every call of the program.
  [[nodiscard]] bool any_set() const { return any_set_; }
  // The elapsed time at which the next runs out: while the program computes, or while it sleeps.
  [[nodiscard]] std::uint64_t next_while_computing_ns(const Now& now) const;
  [[nodiscard]] std::uint64_t next_while_sleeping_ns() const;
  // What the next one sends that has run out. One whose signal is in `waiting` only counts that.
  [[nodiscard]] std::optional<SignalCause> take(const Now& now, SignalSet waiting);

 private:
  struct Timer {
    bool exists = true;
    Clock clock = Clock::elapsed;
    std::int64_t epoch_ns = 0;
    Setting setting;
    SignalCause cause;
    std::uint64_t missed = 0; // since its last signal was sent
    std::int32_t overruns = 0;
  };

  [[nodiscard]] const Timer& at(std::int32_t timer) const {
    return timers_[static_cast<std::size_t>(timer)];
  }

  void note_any_set();

  std::vector<Timer> timers_;
  bool any_set_ = false;
};

} // namespace guest::linux
