// SPDX-License-Identifier: MIT
// The thread of a recorder: keeps the trace ahead of its writers by a turn now and then, and does
// for others what only it has the right to (vmm/sandbox).
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"

namespace vmm {

class TraceThread {
 public:
  // What a turn says of the next one.
  enum class Next : std::uint8_t {
    soon,     // within the period
    on_order, // after some work
  };

  TraceThread() = default;
  TraceThread(const TraceThread&) = delete;
  TraceThread& operator=(const TraceThread&) = delete;
  ~TraceThread() { stop(); }

  // Takes turns at once, and as they say.
  [[nodiscard]] Result<void> start(std::chrono::nanoseconds period, std::function<Next()> turn,
                                   ThreadStart on_start = {});
  // Does `work` on the thread, one at a time, and returns when it is done; a turn follows. False:
  // the thread does not run, and nothing was done.
  [[nodiscard]] bool run(const std::function<void()>& work);
  // Ends it after a last turn. Nobody waits in run() any more, or ever will.
  void stop();

 private:
  void take_turns(std::chrono::nanoseconds period, const std::function<Next()>& turn);

  std::mutex one_at_a_time_; // held by who waits in run()
  std::mutex mutex_;         // guards the next four
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;
  bool running_ = false;
  bool stopping_ = false;
  Thread thread_; // last: it uses the others
};

} // namespace vmm
