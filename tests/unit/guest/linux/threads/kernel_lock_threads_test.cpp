// SPDX-License-Identifier: MIT
#include "guest/linux/threads/kernel_lock.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::KernelLock;
using guest::linux::VcpuInterrupts;

// Waits as a thread of this host.
struct Yield {
  void operator()() const { std::this_thread::yield(); }
  [[nodiscard]] static constexpr bool now_is_time_to_nap() { return false; }
};

// Threads as vCPUs. What the program's code uses is behind a pointer that a vCPU has read before,
// as translations are; the thing itself is gone as soon as nobody may use the pointer. Sanitizers
// tell.
class Threads final : public VcpuInterrupts {
 public:
  explicit Threads(unsigned count) : lock(*this, count), lives_(count), seats_(count) {
    for (Seat& seat : seats_) {
      seat.read = thing_.get();
    }
  }

  [[nodiscard]] std::uint32_t& called(unsigned vcpu) override { return seats_[vcpu].called; }
  void interrupt(unsigned vcpu) override {
    Seat& seat = seats_[vcpu];
    const std::lock_guard guard(seat.mutex);
    seat.is_interrupted.store(true);
    seat.interrupts.notify_one();
  }
  void forget(unsigned vcpu) override { seats_[vcpu].read = thing_.get(); }

  // A vCPU's life, so many times in the kernel.
  void live(unsigned vcpu, unsigned rounds) {
    std::minstd_rand random(vcpu + 1);
    const auto count = static_cast<unsigned>(seats_.size());
    static_cast<void>(lock.enter(vcpu, Yield{}));
    for (unsigned round = 0; round < rounds; ++round) {
      ++entries;
      if (random() % 8 == 0) {
        lock.stop_others(vcpu, Yield{});
        thing_ = std::make_unique<int>(1);
        seats_[vcpu].read = thing_.get();
      }
      if (const auto other = static_cast<unsigned>(random() % count); other != vcpu) {
        lock.call(other);
      }
      // Somebody has to be there who calls the others.
      const bool waits_for_call = random() % 2 == 0 && waiting_ + 1 < lives_;
      waiting_ += waits_for_call ? 1 : 0;
      if (waits_for_call && random() % 2 == 0) {
        rest(vcpu);
      } else {
        run_program(vcpu, waits_for_call ? ~0UL : random() % 64);
      }
      waiting_ -= waits_for_call ? 1 : 0;
    }
    --lives_;
    for (unsigned other = 0; other < count; ++other) {
      if (other != vcpu) {
        lock.call(other);
      }
    }
    lock.rest(vcpu);
  }

  KernelLock lock;
  std::uint64_t entries = 0; // guarded by the lock
  std::atomic<int> used{0};

 private:
  struct Seat {
    alignas(64) std::uint32_t called = 0;
    const int* read = nullptr; // its own
    std::mutex mutex;
    std::condition_variable interrupts;
    std::atomic<bool> is_interrupted{false};
  };

  void run_program(unsigned vcpu, unsigned long steps) {
    Seat& seat = seats_[vcpu];
    lock.leave(vcpu);
    for (unsigned long step = 0; step < steps; ++step) {
      used.fetch_or(*seat.read, std::memory_order_relaxed);
      if (seat.is_interrupted.exchange(false) && lock.is_called(vcpu)) {
        break;
      }
    }
    static_cast<void>(lock.enter(vcpu, Yield{}));
  }
  void rest(unsigned vcpu) {
    Seat& seat = seats_[vcpu];
    lock.rest(vcpu);
    while (!lock.is_called(vcpu)) {
      if (lock.may_halt(vcpu)) {
        std::unique_lock guard(seat.mutex);
        seat.interrupts.wait(guard, [&] { return seat.is_interrupted.exchange(false); });
      }
      lock.is_awake(vcpu);
    }
    static_cast<void>(lock.enter(vcpu, Yield{}));
  }

  std::unique_ptr<int> thing_ = std::make_unique<int>(1);
  // Guarded by the lock.
  unsigned lives_;
  unsigned waiting_ = 0; // to be called
  std::vector<Seat> seats_;
};

TEST_CASE("one vCPU at a time is in the kernel, calls arrive, and nobody uses what is gone") {
  for (const unsigned vcpus : {2U, 3U, 5U}) {
    CAPTURE(vcpus);
    constexpr unsigned rounds = 3000;
    Threads all(vcpus);
    std::vector<std::jthread> threads;
    for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
      threads.emplace_back([&all, vcpu] { all.live(vcpu, rounds); });
    }
    threads.clear();
    CHECK(all.entries == std::uint64_t{rounds} * vcpus);
  }
}

} // namespace
