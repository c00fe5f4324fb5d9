// SPDX-License-Identifier: MIT
// Who waits at which address of the program's memory (futex(2)). Those at one address are woken in
// the order in which they came. Pure.
#pragma once

#include <array>
#include <cstdint>

#include "guest/linux/threads/scheduler.hpp"

namespace guest::linux {

class Futexes {
 public:
  // A thread that waits; on its stack, from add() until it is woken or removed.
  struct Waiter {
    Thread* thread = nullptr;
    std::uint64_t address = 0;
    std::uint32_t bits = all_bits; // of which a waker must have one
    bool is_woken = false;

    Waiter* before = nullptr; // in the list of its bucket
    Waiter* behind = nullptr;
  };
  static constexpr std::uint32_t all_bits = ~std::uint32_t{0};

  explicit Futexes(Scheduler& scheduler) : scheduler_(scheduler) {}
  Futexes(const Futexes&) = delete;
  Futexes& operator=(const Futexes&) = delete;

  void add(Waiter& waiter);
  // One that was not woken.
  void remove(Waiter& waiter);
  // At most `most` of those at an address that have one of `bits`; how many there were.
  std::uint32_t wake(std::uint64_t address, std::uint32_t most, std::uint32_t bits = all_bits);
  // At most `most` of them wait at another address from now on; how many there were.
  std::uint32_t move(std::uint64_t from, std::uint64_t to, std::uint32_t most);
  // The one that has waited longest; null: none.
  [[nodiscard]] Waiter* first_at(std::uint64_t address);
  // Wakes that one.
  void wake_one(Waiter& waiter);

 private:
  struct Bucket {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };
  static constexpr std::size_t bucket_count = 256;

  [[nodiscard]] Bucket& bucket_of(std::uint64_t address);
  // The next at `address` from `from` on.
  [[nodiscard]] static Waiter* next_at(Waiter* from, std::uint64_t address);

  Scheduler& scheduler_;
  std::array<Bucket, bucket_count> buckets_;
};

} // namespace guest::linux
