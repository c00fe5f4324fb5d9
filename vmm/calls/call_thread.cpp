// SPDX-License-Identifier: MIT
#include "vmm/calls/call_thread.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "vmm/base/clock.hpp"

namespace vmm {
namespace {

// A program's next call comes within that time, or it computes: waking a thread that sleeps takes
// as long.
constexpr std::uint64_t watch_ns = 50'000;
// Looks for calls between two looks at the clock.
constexpr unsigned looks_at_a_time = 64;
// Between two looks at what else there is while the thread watches: those take a system call.
constexpr std::uint64_t events_ns = 5'000;

} // namespace

Result<std::unique_ptr<CallThread>> CallThread::create(CallSource& source) {
  UniqueFd woken(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!woken.valid()) {
    return system_error("cannot make a descriptor for calls");
  }
  return std::unique_ptr<CallThread>(new CallThread(source, std::move(woken)));
}

Result<void> CallThread::start(std::string_view what, ThreadStart on_start) {
  EBB_TRY_ASSIGN(thread, Thread::make(what, std::move(on_start), [this] { run(); }));
  thread_ = std::move(thread);
  return {};
}

void CallThread::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  changed_.notify_all();
  wake();
  thread_.join();
}

// Whoever kicks has asked before: a look that begins later finds it.
void CallThread::run() {
  while (sleep()) {
    source_.tell(Watching::yes);
    watch();
    source_.tell(Watching::no);
    // Who asked and saw that it was watched has been seen now; who comes later kicks.
    static_cast<void>(source_.answer());
  }
}

bool CallThread::sleep() {
  {
    const std::scoped_lock lock(mutex_);
    sleeping_ = kicks_ == looked_;
    if (stopping_ || !sleeping_) {
      return !stopping_;
    }
  }
  // A negative descriptor is not waited for.
  std::array<pollfd, 2> events{pollfd{woken_.get(), POLLIN, 0},
                               pollfd{source_.events_fd(), POLLIN, 0}};
  static_cast<void>(::poll(events.data(), events.size(), -1));
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(woken_.get(), &count, sizeof count);
  const std::scoped_lock lock(mutex_);
  sleeping_ = false;
  return !stopping_;
}

void CallThread::watch() {
  const bool has_events = source_.events_fd() >= 0;
  std::uint64_t now_ns = monotonic_ns();
  std::uint64_t last_ns = now_ns; // when something was found
  std::uint64_t events_due_ns = now_ns;
  while (!stopping_.load(std::memory_order_relaxed) && now_ns - last_ns <= watch_ns) {
    const std::uint64_t kicks = kicks_now();
    bool found = false;
    for (unsigned looks = 0; looks < looks_at_a_time && !found; ++looks) {
      found = source_.answer();
    }
    tell_looked(kicks);
    if (has_events && now_ns >= events_due_ns) {
      found = source_.take_events() || found;
      events_due_ns = now_ns + events_ns;
    }
    now_ns = monotonic_ns();
    last_ns = found ? now_ns : last_ns;
  }
}

void CallThread::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(woken_.get(), &one, sizeof one);
}

std::uint64_t CallThread::kicks_now() {
  const std::scoped_lock lock(mutex_);
  return kicks_;
}

void CallThread::tell_looked(std::uint64_t kicks) {
  const std::scoped_lock lock(mutex_);
  if (looked_ != kicks) {
    looked_ = kicks;
    changed_.notify_all();
  }
}

void CallThread::serve() {
  std::unique_lock lock(mutex_);
  const std::uint64_t kick = ++kicks_;
  if (std::exchange(sleeping_, false)) {
    wake();
  }
  changed_.wait(lock, [&] { return stopping_ || looked_ >= kick; });
}

} // namespace vmm
