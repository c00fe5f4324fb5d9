// SPDX-License-Identifier: MIT
// Signals that have come and wait to be taken: those of a process, and those of a thread. One waits
// once, what comes again meanwhile is the same; but one for real time that somebody has queued
// waits as often as it came.
#pragma once

#include <cstdint>
#include <vector>

#include "guest/linux/base/signal_set.hpp"

namespace guest::linux {

// The first of those for real time, as the kernel has them, which can wait more than once.
inline constexpr std::uint64_t first_queued_signal = 32;

// Why a signal came: what siginfo_t tells.
struct SignalCause {
  std::uint64_t signal = 0;
  std::int32_t code = 0;     // SI_USER, SEGV_MAPERR...
  std::uint64_t address = 0; // of faults
  std::int32_t process = 0;  // of kill and sigqueue
  std::uint32_t user = 0;
  std::uint64_t value = 0;   // of sigqueue and timers
  std::int32_t timer = 0;    // its number
  std::int32_t thread = 0;   // that a timer's is for; 0: any
  std::int32_t overruns = 0; // of a timer
};

class PendingSignals {
 public:
  static constexpr std::size_t most_queued = 1024;

  [[nodiscard]] SignalSet waiting() const { return waiting_; }
  // How often one has come, ever.
  [[nodiscard]] std::uint64_t arrivals() const { return arrivals_; }
  // Too many already: one for real time that waits is dropped.
  void add(const SignalCause& cause);
  // The first of that signal that came, of one that waits.
  [[nodiscard]] SignalCause take(std::uint64_t signal);
  // All of it: it is ignored from now on.
  void forget(std::uint64_t signal);
  // Whether one for real time could wait: no, if too many do (EAGAIN of sigqueue).
  [[nodiscard]] bool has_room() const { return causes_.size() < most_queued; }

 private:
  std::vector<SignalCause> causes_; // in the order in which they came
  SignalSet waiting_ = 0;
  std::uint64_t arrivals_ = 0;
};

} // namespace guest::linux
