// SPDX-License-Identifier: MIT
// The thread that carries out calls of one kind, which its sandbox alone allows. For a while after
// each call it watches for the next, then it sleeps until a vCPU's hypercall wakes it, or something
// else that its calls are about.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/calls/call_source.hpp"

namespace vmm {

class CallThread {
 public:
  // `source` outlives this. Environment error when the host has no descriptor to give.
  static Result<std::unique_ptr<CallThread>> create(CallSource& source);
  CallThread(const CallThread&) = delete;
  CallThread& operator=(const CallThread&) = delete;
  ~CallThread() { stop(); }

  // Makes the thread, once; `on_start` is the first thing it does. `what` it is for, for an error.
  [[nodiscard]] Result<void> start(std::string_view what, ThreadStart on_start);
  // Ends it, and wakes whoever waits. A call that is being carried out ends first.
  void stop();

  // On any other thread: returns when what was asked for before has been answered, or after stop().
  void serve();

 private:
  CallThread(CallSource& source, UniqueFd woken) : source_(source), woken_(std::move(woken)) {}

  void run();
  void watch();
  // False: the end has come.
  [[nodiscard]] bool sleep();
  void wake() const;
  [[nodiscard]] std::uint64_t kicks_now();
  void tell_looked(std::uint64_t kicks);

  CallSource& source_; // of the thread's alone
  UniqueFd woken_;     // an eventfd
  std::mutex mutex_;   // guards the following
  std::condition_variable changed_;
  std::uint64_t kicks_ = 0;
  std::uint64_t looked_ = 0; // kicks that came before the last look
  bool sleeping_ = false;
  std::atomic<bool> stopping_{false}; // becomes true under the lock, is looked at without it, too
  Thread thread_;
};

} // namespace vmm
