// SPDX-License-Identifier: MIT
// The signals of a process with one thread: what it wants done with each, which are blocked, which
// wait (signal(7)). Pure state; signal_frame.hpp has the form in which a handler gets one.
//
// A signal waits once, what comes again meanwhile is the same; but one for real time that somebody
// has queued waits as often as it came.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "guest/linux/base/signal_set.hpp"

namespace guest::linux {

// The first of those for real time, as the kernel has them, which can wait more than once.
inline constexpr std::uint64_t first_queued_signal = 32;

// What rt_sigaction takes and gives: the kernel's struct sigaction.
struct SignalAction {
  static constexpr std::uint64_t default_handler = 0; // SIG_DFL
  static constexpr std::uint64_t ignore = 1;          // SIG_IGN
  std::uint64_t handler = default_handler;
  std::uint64_t flags = 0; // SA_
  std::uint64_t restorer = 0;
  SignalSet mask = 0;
};

// Why a signal came: what siginfo_t tells.
struct SignalCause {
  std::uint64_t signal = 0;
  std::int32_t code = 0;     // SI_USER, SEGV_MAPERR...
  std::uint64_t address = 0; // of faults
  std::int32_t process = 0;  // of kill and sigqueue
  std::uint32_t user = 0;
  std::uint64_t value = 0;   // of sigqueue and timers
  std::int32_t timer = 0;    // its number
  std::int32_t overruns = 0; // of a timer
};

// The kernel's stack_t.
struct AlternateStack {
  std::uint64_t start = 0;
  std::int32_t flags = disabled;
  std::int32_t unused = 0;
  std::uint64_t bytes = 0;
  static constexpr std::int32_t disabled = 2; // SS_DISABLE

  [[nodiscard]] bool contains(std::uint64_t address) const {
    return (flags & disabled) == 0 && address - start < bytes;
  }
};

class Signals {
 public:
  enum class Effect : std::uint8_t {
    nothing, // ignored, or waits
    handler,
    end,  // of the process
    stop, // of the process, until it is continued
  };
  static constexpr std::size_t most_queued = 1024;

  [[nodiscard]] const SignalAction& action(std::uint64_t signal) const { return actions_[signal]; }
  // Also forgets one that waits if it is ignored from now on.
  void set_action(std::uint64_t signal, const SignalAction& action);

  // For the program that follows: what has a handler is as at first, what is ignored stays so.
  void forget_handlers();

  [[nodiscard]] SignalSet blocked() const { return blocked_; }
  // SIGKILL and SIGSTOP stay unblocked.
  void set_blocked(SignalSet blocked);
  [[nodiscard]] SignalSet waiting() const { return waiting_; }
  // How often one has begun to wait, ever.
  [[nodiscard]] std::uint64_t arrivals() const { return arrivals_; }
  // Whether any has a handler.
  [[nodiscard]] bool has_handlers() const { return handlers_ != 0; }
  // Signals that would not end the process now.
  [[nodiscard]] SignalSet survived() const;

  // A signal comes. It waits until take() if it is blocked or has a handler; nothing comes of it
  // when it is ignored.
  [[nodiscard]] Effect send(const SignalCause& cause);
  // Whether it could wait: no, if too many do (EAGAIN of sigqueue).
  [[nodiscard]] bool has_room() const { return queued_.size() < most_queued; }
  // The same for a fault of the instruction at hand, which cannot wait: its end, if blocked or
  // ignored.
  [[nodiscard]] Effect fault(const SignalCause& cause);

  // Whether a signal is to be handled now.
  [[nodiscard]] bool due() const { return (waiting_ & ~blocked_) != 0; }
  // The next of those, lowest number first; it waits no longer.
  struct Taken {
    SignalCause cause;
    SignalAction action;
    SignalSet blocked_before = 0; // what the handler's return goes back to
    Effect effect = Effect::nothing;
  };
  [[nodiscard]] std::optional<Taken> take();

  // The first of `wanted` that waits, blocked or not; it waits no longer (sigtimedwait).
  [[nodiscard]] std::optional<SignalCause> accept(SignalSet wanted);

  // What sigsuspend waits with; `blocked_before` of the next signal is what is blocked now.
  void suspend(SignalSet blocked);
  // It waits no longer, and no signal has come.
  void end_suspend();

  AlternateStack alternate_stack;

 private:
  [[nodiscard]] Effect effect_of(std::uint64_t signal) const;
  // The cause of one that waits; the next of its kind waits on, if there is one.
  SignalCause remove(std::uint64_t signal);

  std::array<SignalAction, last_signal + 1> actions_{};
  std::array<SignalCause, last_signal + 1> causes_{};
  std::vector<SignalCause> queued_; // behind those
  SignalSet blocked_ = 0;
  SignalSet waiting_ = 0;
  std::uint64_t arrivals_ = 0;
  SignalSet handlers_ = 0; // that have one
  std::optional<SignalSet> before_suspend_;
};

} // namespace guest::linux
