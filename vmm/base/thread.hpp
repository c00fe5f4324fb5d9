// SPDX-License-Identifier: MIT
// Threads: one way to make them, and where one waits that was made before there is anything to do.
// No thread is made once the guest runs: a thread that can make threads needs more of the kernel
// than one that cannot.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "vmm/base/result.hpp"

namespace vmm {

// What a component's thread does before anything else, handed in by whoever owns the component.
// Empty: nothing.
using ThreadStart = std::function<void()>;

// A thread that is asked to stop and joined when its owner goes.
class Thread {
 public:
  Thread() = default; // none

  // Makes a thread that does `on_start` and then `body`, which takes a std::stop_token or nothing.
  // Environment error when the host has no thread to give for `what` ("a vCPU").
  template <typename Body>
  static Result<Thread> make(std::string_view what, ThreadStart on_start, Body body) {
    try {
      return Thread(std::jthread([on_start = std::move(on_start),
                                  body = std::move(body)](const std::stop_token& stop) mutable {
        if (on_start) {
          on_start();
        }
        if constexpr (std::is_invocable_v<Body&, const std::stop_token&>) {
          body(stop);
        } else {
          body();
        }
      }));
    } catch (const std::system_error& error) { // as the C++ library tells
      return environment_error("cannot start a thread for {}: {}; raise the limits on threads and "
                               "memory (ulimit -u, -v, -d)",
                               what, errno_text(error.code().value()));
    }
  }

  // All of these do nothing where there is no thread, or none any more.
  void request_stop() { thread_.request_stop(); }
  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  [[nodiscard]] bool joinable() const { return thread_.joinable(); }
  // Of a thread that is there.
  [[nodiscard]] std::thread::native_handle_type native_handle() { return thread_.native_handle(); }

 private:
  explicit Thread(std::jthread thread) : thread_(std::move(thread)) {}

  std::jthread thread_;
};

class StartGate {
 public:
  // Any thread, any number of times; whatever comes first counts.
  void open() { leave(State::open); }
  void cancel() { leave(State::cancelled); }

  // Blocks until the gate is open (true) or cancelled (false).
  [[nodiscard]] bool wait() const {
    state_.wait(State::closed, std::memory_order_acquire);
    return state_.load(std::memory_order_acquire) == State::open;
  }

 private:
  enum class State : std::uint32_t { closed, open, cancelled };

  void leave(State to) {
    State expected = State::closed;
    state_.compare_exchange_strong(expected, to, std::memory_order_acq_rel);
    state_.notify_all();
  }

  std::atomic<State> state_{State::closed};
};

} // namespace vmm
