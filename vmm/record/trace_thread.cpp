// SPDX-License-Identifier: MIT
#include "vmm/record/trace_thread.hpp"

#include <utility>

namespace vmm {

Result<void> TraceThread::start(std::chrono::nanoseconds period, std::function<Next()> turn,
                                ThreadStart on_start) {
  EBB_TRY_ASSIGN(
      thread, Thread::make("the trace", std::move(on_start),
                           [this, period, turn = std::move(turn)] { take_turns(period, turn); }));
  thread_ = std::move(thread);
  const std::scoped_lock lock(mutex_);
  running_ = true;
  return {};
}

void TraceThread::take_turns(std::chrono::nanoseconds period, const std::function<Next()>& turn) {
  std::unique_lock lock(mutex_);
  const auto wanted = [this] { return stopping_ || work_ != nullptr; };
  for (Next next = Next::soon; !stopping_ || work_ != nullptr;) { // somebody waits for it
    if (next == Next::soon) {
      changed_.wait_for(lock, period, wanted);
    } else {
      changed_.wait(lock, wanted);
    }
    if (const auto* const work = work_) {
      lock.unlock();
      (*work)();
      lock.lock();
      work_ = nullptr;
      changed_.notify_all();
    }
    lock.unlock();
    next = turn();
    lock.lock();
  }
}

bool TraceThread::run(const std::function<void()>& work) {
  const std::scoped_lock only_one(one_at_a_time_);
  std::unique_lock lock(mutex_);
  if (!running_ || stopping_) {
    return false;
  }
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [this] { return work_ == nullptr; });
  return true;
}

void TraceThread::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

} // namespace vmm
