// SPDX-License-Identifier: MIT
// What a process wants done with each signal (signal(7)); the same for all of its threads.
#pragma once

#include <array>
#include <csignal>
#include <cstdint>

#include "guest/linux/base/signal_set.hpp"

namespace guest::linux {

// What rt_sigaction takes and gives: the kernel's struct sigaction.
struct SignalAction {
  static constexpr std::uint64_t default_handler = 0; // SIG_DFL
  static constexpr std::uint64_t ignore = 1;          // SIG_IGN
  std::uint64_t handler = default_handler;
  std::uint64_t flags = 0; // SA_
  std::uint64_t restorer = 0;
  SignalSet mask = 0;
};

// What a signal does that nothing blocks.
enum class SignalEffect : std::uint8_t {
  nothing,
  handler,
  end,  // of the process
  stop, // of the process, until it is continued
};

// Those that stop a process, unless it has other wishes.
inline constexpr SignalSet stop_signals =
    set_of(SIGSTOP) | set_of(SIGTSTP) | set_of(SIGTTIN) | set_of(SIGTTOU);

class SignalActions {
 public:
  [[nodiscard]] const SignalAction& of(std::uint64_t signal) const { return actions_[signal]; }
  void set(std::uint64_t signal, const SignalAction& action);
  [[nodiscard]] SignalEffect effect_of(std::uint64_t signal) const;
  // For the program that follows: what has a handler is as at first, what is ignored stays so.
  void forget_handlers();
  // Whether any has a handler.
  [[nodiscard]] bool has_handlers() const { return handlers_ != 0; }
  // Those that do not end or stop the process.
  [[nodiscard]] SignalSet survived() const;

 private:
  std::array<SignalAction, last_signal + 1> actions_{};
  SignalSet handlers_ = 0; // that have one
};

} // namespace guest::linux
