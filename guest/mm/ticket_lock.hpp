// SPDX-License-Identifier: MIT
// A fair spin lock: vCPUs get it in the order in which they asked.
#pragma once

#include <atomic>
#include <cstdint>

namespace guest::mm {

// The default way to wait: tells the core that this is a spin loop.
struct CpuPause {
  void operator()() const { __builtin_ia32_pause(); }
};

class TicketLock {
 public:
  TicketLock() = default;
  TicketLock(const TicketLock&) = delete;
  TicketLock& operator=(const TicketLock&) = delete;

  // Calls `relax` between looks.
  template <typename Relax> void lock(Relax& relax) {
    const std::uint32_t ticket = next_.fetch_add(1, std::memory_order_relaxed);
    while (serving_.load(std::memory_order_acquire) != ticket)
      [[unlikely]] {
        relax();
      }
  }
  // By the holder only: whether somebody waits.
  [[nodiscard]] bool contended() const {
    return next_.load(std::memory_order_relaxed) - serving_.load(std::memory_order_relaxed) > 1;
  }
  // By the holder only.
  void unlock() {
    serving_.store(serving_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  std::atomic<std::uint32_t> next_{0};
  std::atomic<std::uint32_t> serving_{0};
};

// Holds the lock for its lifetime, except between unlock() and lock().
template <typename Relax = CpuPause> class TicketGuard {
 public:
  explicit TicketGuard(TicketLock& lock, Relax relax = {}) : lock_(lock), relax_(relax) {
    lock_.lock(relax_);
  }
  TicketGuard(const TicketGuard&) = delete;
  TicketGuard& operator=(const TicketGuard&) = delete;
  ~TicketGuard() {
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
  // Lets those go first who wait already. What the lock guards may have changed afterwards.
  void yield() {
    if (lock_.contended()) [[unlikely]] {
      unlock();
      lock();
    }
  }

 private:
  TicketLock& lock_;
  Relax relax_;
  bool held_ = true;
};

} // namespace guest::mm
