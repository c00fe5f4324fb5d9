// SPDX-License-Identifier: MIT
// A spin lock that is fair within a bound: whoever runs takes it, but who has waited for long comes
// before those that have not.
//
// Not a strict queue: vCPUs are threads of the host and lose their CPU at any time. A queue then
// hands the lock to one that does not run, and every other waits for the host's scheduler: four
// vCPUs on two busy CPUs did 300 us an allocation that way, against 0.5 us now.
#pragma once

#include <atomic>
#include <cstdint>

namespace guest::mm {

// Waiting without giving the CPU away, for users that are never descheduled for long: tells the
// core that this is a spin loop. In the guest the way to wait is Backoff.
struct CpuPause {
  void operator()() const { __builtin_ia32_pause(); }
  [[nodiscard]] static constexpr bool now_is_time_to_nap() { return false; }
};

class FairLock {
 public:
  // Who may want the lock. With one user there is nothing to lock: two atomic exchanges cost half
  // of an allocate+free pair.
  enum class Users : std::uint8_t { one, many };

  explicit FairLock(Users users = Users::many) : users_(users) {}
  FairLock(const FairLock&) = delete;
  FairLock& operator=(const FairLock&) = delete;

  // Calls a copy of `relax` between looks: what it remembers is of this wait alone.
  template <typename Relax> void lock(const Relax& relax) {
    if (!try_lock()) [[unlikely]] {
      wait(relax);
    }
  }
  // Takes the lock if that can be had at once.
  [[nodiscard]] bool try_lock() {
    return users_ == Users::one || (starving_.load(std::memory_order_relaxed) == 0 && try_take());
  }
  // Whether somebody waits.
  [[nodiscard]] bool contended() const { return waiting_.load(std::memory_order_relaxed) != 0; }
  // By the holder only.
  void unlock() { taken_.store(false, std::memory_order_release); }
  // Before its first use.
  void set_users(Users users) { users_ = users; }

 private:
  // Turns of waiting after which a vCPU comes before those that have not waited: about 20 us, less
  // than it may spin.
  static constexpr std::uint32_t patience_turns = 256;

  bool try_take() {
    return !taken_.load(std::memory_order_relaxed) &&
           !taken_.exchange(true, std::memory_order_acquire);
  }

  template <typename Relax> [[gnu::noinline]] void wait(Relax relax) {
    waiting_.fetch_add(1, std::memory_order_relaxed);
    if (!wait_patiently(relax)) {
      wait_starving(relax);
    }
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }

  template <typename Relax> bool wait_patiently(Relax& relax) {
    for (std::uint32_t turn = 0; turn < patience_turns; ++turn) {
      if (try_lock()) {
        return true;
      }
      relax();
    }
    return false;
  }

  // While it naps, the others need not leave it the lock.
  template <typename Relax> void wait_starving(Relax& relax) {
    starving_.fetch_add(1, std::memory_order_relaxed);
    while (!try_take()) {
      if (relax.now_is_time_to_nap()) {
        starving_.fetch_sub(1, std::memory_order_relaxed);
        relax();
        starving_.fetch_add(1, std::memory_order_relaxed);
      } else {
        relax();
      }
    }
    starving_.fetch_sub(1, std::memory_order_relaxed);
  }

  Users users_;
  std::atomic<bool> taken_{false};
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<std::uint32_t> starving_{0}; // vCPUs that have lost their patience
};

// Holds the lock for its lifetime.
template <typename Relax = CpuPause> class FairGuard {
 public:
  explicit FairGuard(FairLock& lock, const Relax& relax = {}) : lock_(lock) { lock_.lock(relax); }
  FairGuard(const FairGuard&) = delete;
  FairGuard& operator=(const FairGuard&) = delete;
  ~FairGuard() { lock_.unlock(); }

 private:
  FairLock& lock_;
};

// The same, except between unlock() and lock().
template <typename Relax = CpuPause> class FairLease {
 public:
  explicit FairLease(FairLock& lock, const Relax& relax = {}) : lock_(lock), relax_(relax) {
    lock_.lock(relax_);
  }
  FairLease(const FairLease&) = delete;
  FairLease& operator=(const FairLease&) = delete;
  ~FairLease() {
    if (held_) {
      lock_.unlock();
    }
  }
  void unlock() {
    held_ = false;
    lock_.unlock();
  }
  void lock() {
    lock_.lock(relax_);
    held_ = true;
  }
  // Gives those who wait a chance to go first. What the lock guards may have changed afterwards.
  void yield() {
    if (lock_.contended()) [[unlikely]] {
      unlock();
      auto turn = relax_;
      turn();
      lock();
    }
  }

 private:
  FairLock& lock_;
  Relax relax_;
  bool held_ = true;
};

} // namespace guest::mm
