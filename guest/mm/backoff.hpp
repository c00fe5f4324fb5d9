// SPDX-License-Identifier: MIT
// How a vCPU waits for another one: it spins for a moment, because what it waits for usually takes
// less than a microsecond, and then lets the host's CPU go in growing naps: the other vCPU is a
// thread of the host, and may be waiting for just that CPU.
//
// One object a wait. Who waits for the host, or for memory, sleeps until it is woken instead
// (PagePlatform::sleep_until).
#pragma once

#include <algorithm>
#include <cstdint>

#include "guest/mm/page_platform.hpp"

namespace guest::mm {

class Backoff {
 public:
  // Longest time at a stretch in which the vCPU spins. A nap costs about as much.
  static constexpr std::uint64_t spin_ns = 50'000;
  static constexpr std::uint64_t shortest_nap_ns = 20'000;
  static constexpr std::uint64_t longest_nap_ns = 5'000'000;

  explicit Backoff(PagePlatform& platform) : platform_(&platform) {}
  // A copy begins a wait of its own.
  Backoff(const Backoff& other) : platform_(other.platform_) {}
  Backoff& operator=(const Backoff&) = delete;
  ~Backoff() {
    if (spun_ns_ != 0) [[unlikely]] {
      platform_->count_spinning(spun_ns_);
    }
  }

  // One turn: a pause, or a nap if the time for spinning is over. A nap takes a quarter of what the
  // wait has taken already, so it makes no wait longer by more than that.
  void operator()() {
    const std::uint64_t waited = waited_ns();
    if (waited >= spin_ns) {
      platform_->nap(std::clamp(waited / 4, shortest_nap_ns, longest_nap_ns));
    } else {
      spun_ns_ = waited;
      platform_->relax();
    }
  }

  // Whether the next turn is a nap.
  [[nodiscard]] bool now_is_time_to_nap() { return waited_ns() >= spin_ns; }

 private:
  // Since the first call.
  [[nodiscard]] std::uint64_t waited_ns() {
    const std::uint64_t now_ns = platform_->now_ns();
    start_ns_ = std::min(start_ns_, now_ns);
    return now_ns - start_ns_;
  }

  PagePlatform* platform_;
  std::uint64_t start_ns_ = ~std::uint64_t{0}; // not begun
  std::uint64_t spun_ns_ = 0;
};

} // namespace guest::mm
