// SPDX-License-Identifier: MIT
// The signals of a thread: which it blocks, and which it is to take next, of those that wait for it
// and of those that wait for any thread of its process (signal(7)). Pure state; signal_frame.hpp
// has the form in which a handler gets one.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/linux/base/signal_set.hpp"
#include "guest/linux/signals/pending_signals.hpp"
#include "guest/linux/signals/signal_actions.hpp"

namespace guest::linux {

// The kernel's stack_t.
struct AlternateStack {
  std::uint64_t start = 0;
  std::int32_t flags = disabled;
  std::int32_t unused = 0;
  std::uint64_t bytes = 0;
  static constexpr std::int32_t in_use = 1;          // SS_ONSTACK
  static constexpr std::int32_t disabled = 2;        // SS_DISABLE
  static constexpr std::uint64_t least_bytes = 2048; // MINSIGSTKSZ

  // Whether it is the stack of who has that RSP; one that is empty has it at its end.
  [[nodiscard]] bool is_used_at(std::uint64_t stack_pointer) const {
    return (flags & disabled) == 0 && stack_pointer > start && stack_pointer - start <= bytes;
  }
  [[nodiscard]] bool contains(std::uint64_t address) const {
    return (flags & disabled) == 0 && address - start < bytes;
  }
};

class Signals {
 public:
  // What the process wants done, and what waits for all of it. Both outlive this.
  Signals(SignalActions& actions, PendingSignals& shared) : actions_(actions), shared_(shared) {}
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  [[nodiscard]] SignalSet blocked() const { return blocked_; }
  // SIGKILL and SIGSTOP stay unblocked.
  void set_blocked(SignalSet blocked);
  // For this thread, or for any of the process.
  [[nodiscard]] SignalSet waiting() const { return own_.waiting() | shared_.waiting(); }
  // How often one has begun to wait, ever.
  [[nodiscard]] std::uint64_t arrivals() const { return own_.arrivals() + shared_.arrivals(); }
  // Whether a signal that comes is to end a wait of this thread.
  [[nodiscard]] bool takes(std::uint64_t signal) const { return (blocked_ & set_of(signal)) == 0; }

  // A signal comes for this thread. It waits until take() if it is blocked or has a handler;
  // nothing comes of it when it is ignored.
  [[nodiscard]] SignalEffect send(const SignalCause& cause);
  // What waits for this thread alone.
  [[nodiscard]] const PendingSignals& own() const { return own_; }
  // The same for a fault of the instruction at hand, which cannot wait: its end, if blocked or
  // ignored.
  [[nodiscard]] SignalEffect fault(const SignalCause& cause);
  // It is ignored from now on.
  void forget(std::uint64_t signal) { own_.forget(signal); }

  // Whether a signal is to be handled now.
  [[nodiscard]] bool due() const { return (waiting() & ~blocked_) != 0; }
  // The next of those, lowest number first; it waits no longer.
  struct Taken {
    SignalCause cause;
    SignalAction action;
    SignalSet blocked_before = 0; // what the handler's return goes back to
    SignalEffect effect = SignalEffect::nothing;
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
  // The first of that signal, the thread's own before one of the process.
  SignalCause remove(std::uint64_t signal);

  SignalActions& actions_;
  PendingSignals& shared_;
  PendingSignals own_;
  SignalSet blocked_ = 0;
  std::optional<SignalSet> before_suspend_;
};

} // namespace guest::linux
