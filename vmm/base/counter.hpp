// SPDX-License-Identifier: MIT
// A statistics counter with one writer and any number of readers.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm {

// Only one thread adds at a time, so an addition is a plain load and store (no bus lock); a thread
// that samples statistics meanwhile reads a whole, if slightly old, value. A copy is a snapshot.
class Counter {
 public:
  Counter() = default;
  Counter(const Counter& other) : value_(other.value()) {}
  Counter& operator=(const Counter& other) {
    value_.store(other.value(), std::memory_order_relaxed);
    return *this;
  }
  ~Counter() = default;

  void add(std::uint64_t amount = 1) { value_.store(value() + amount, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

} // namespace vmm
