// SPDX-License-Identifier: MIT
// Fields of memory that the host samples while the guest writes them: one writer at a time, whole
// values, in no order.
#pragma once

#include <atomic>
#include <cstdint>

namespace guest::mm {

inline void publish(std::uint64_t& field, std::uint64_t value) {
  std::atomic_ref(field).store(value, std::memory_order_relaxed);
}

// Adds to a counter.
inline void add(std::uint64_t& field, std::uint64_t amount) {
  const std::atomic_ref ref(field);
  ref.store(ref.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

// Makes a high-water mark that any vCPU may raise at least `value`.
inline void raise(std::uint64_t& field, std::uint64_t value) {
  const std::atomic_ref ref(field);
  std::uint64_t seen = ref.load(std::memory_order_relaxed);
  while (seen < value && !ref.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

} // namespace guest::mm
