// SPDX-License-Identifier: MIT
// Calls back at given times from a thread of its own: answers that a fault plan has postponed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"

namespace vmm {

class DelayQueue {
 public:
  using Task = std::function<void()>;

  DelayQueue() = default;
  DelayQueue(const DelayQueue&) = delete;
  DelayQueue& operator=(const DelayQueue&) = delete;
  ~DelayQueue() { stop(); }

  // Starts the thread; once. Environment error when the host has none to give.
  Result<void> start(ThreadStart on_start = {});
  // Returns when the running task is over; the others never run. Any number of times; add() does
  // nothing from then on.
  void stop();

  // Runs `task` when the monotonic clock has reached `due_ns`, on the queue's thread, in order of
  // due times. Any thread, also from within a task.
  void add(std::uint64_t due_ns, Task task);

 private:
  struct Entry {
    std::uint64_t due_ns = 0;
    Task task;
  };

  void run(const std::stop_token& stop);

  std::mutex mutex_; // guards heap_ and open_
  std::condition_variable_any wake_;
  std::vector<Entry> heap_; // earliest first
  bool open_ = true;
  Thread thread_; // last: it uses the others
};

} // namespace vmm
