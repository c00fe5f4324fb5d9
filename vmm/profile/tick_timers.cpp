// SPDX-License-Identifier: MIT
#include "vmm/profile/tick_timers.hpp"

#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace vmm {

// By the kernel's name of the thread: an idle guest is to be looked at, too, so by passed time.
void TickTimers::add_this_thread() {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signal_;
  event._sigev_un._tid = ::gettid(); // glibc 2.36 has no other name for it
  timer_t timer{};
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(period_);
  const timespec period{.tv_sec = seconds.count(), .tv_nsec = (period_ - seconds).count()};
  const itimerspec times{.it_interval = period, .it_value = period};
  const bool made = ::timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
  const bool runs = made && ::timer_settime(timer, 0, &times, nullptr) == 0;
  const int error = errno;
  const std::scoped_lock lock(mutex_);
  if (made) {
    timers_.push_back(timer);
  }
  if (!runs && !failure_) {
    failure_ =
        Error{ErrorClass::environment, "--profile: no timer: " + errno_text(error) +
                                           "; raise the limit on pending signals (ulimit -i)"};
  }
}

Result<void> TickTimers::result() const {
  const std::scoped_lock lock(mutex_);
  return failure_ ? std::unexpected(*failure_) : Result<void>{};
}

void TickTimers::stop() {
  const std::scoped_lock lock(mutex_);
  for (const timer_t timer : timers_) {
    ::timer_delete(timer);
  }
  timers_.clear();
}

} // namespace vmm
