// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/delay_queue.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "vmm/base/clock.hpp"

namespace vmm {

Result<void> DelayQueue::start(ThreadStart on_start) {
  EBB_TRY_ASSIGN(thread, Thread::make("postponed answers", std::move(on_start),
                                      [this](const std::stop_token& stop) { run(stop); }));
  thread_ = std::move(thread);
  return {};
}

void DelayQueue::stop() {
  {
    const std::scoped_lock lock(mutex_);
    open_ = false;
    heap_.clear();
  }
  thread_.request_stop();
  thread_.join();
}

void DelayQueue::add(std::uint64_t due_ns, Task task) {
  {
    const std::scoped_lock lock(mutex_);
    if (!open_) {
      return;
    }
    heap_.push_back({due_ns, std::move(task)});
    std::push_heap(heap_.begin(), heap_.end(),
                   [](const Entry& a, const Entry& b) { return a.due_ns > b.due_ns; });
  }
  wake_.notify_one();
}

void DelayQueue::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (heap_.empty()) {
      wake_.wait(lock, stop, [this] { return !heap_.empty(); });
      continue;
    }
    const std::uint64_t due_ns = heap_.front().due_ns;
    const std::uint64_t now_ns = monotonic_ns();
    if (now_ns < due_ns) {
      // Ends early for an entry that is due before.
      wake_.wait_for(lock, stop, std::chrono::nanoseconds(due_ns - now_ns),
                     [&] { return heap_.empty() || heap_.front().due_ns < due_ns; });
      continue;
    }
    std::pop_heap(heap_.begin(), heap_.end(),
                  [](const Entry& a, const Entry& b) { return a.due_ns > b.due_ns; });
    const Task task = std::move(heap_.back().task);
    heap_.pop_back();
    lock.unlock();
    task();
    lock.lock();
  }
}

} // namespace vmm
