// SPDX-License-Identifier: MIT
// Timers that send threads a signal again and again, each its own.
#pragma once

#include <chrono>
#include <ctime>
#include <mutex>
#include <optional>
#include <vector>

#include "vmm/base/result.hpp"

namespace vmm {

class TickTimers {
 public:
  // `signal` has a handler when the first timer is made.
  TickTimers(int signal, std::chrono::nanoseconds period) : signal_(signal), period_(period) {}
  TickTimers(const TickTimers&) = delete;
  TickTimers& operator=(const TickTimers&) = delete;
  ~TickTimers() { stop(); }

  // For the calling thread, from now on. Any thread; a failure is told by result().
  void add_this_thread();
  // Environment error when the host had no timer to give.
  [[nodiscard]] Result<void> result() const;
  // No signal comes afterwards. Threads may be gone by then.
  void stop();

 private:
  const int signal_;
  const std::chrono::nanoseconds period_;
  mutable std::mutex mutex_; // guards the next two
  std::vector<timer_t> timers_;
  std::optional<Error> failure_; // the first
};

} // namespace vmm
