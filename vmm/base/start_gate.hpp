// SPDX-License-Identifier: MIT
// Where a thread waits that was made before there is anything to do for it. No thread is made once
// the guest runs: a thread that can make threads needs more of the kernel than one that cannot.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm {

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
