// SPDX-License-Identifier: MIT
#include "guest/linux/threads/futexes.hpp"

namespace guest::linux {

// Words that are waited at lie in structures of any size: the product's upper bits depend on all of
// the address's (Knuth, The Art of Computer Programming, vol. 3, 6.4: multiplicative hashing).
Futexes::Bucket& Futexes::bucket_of(std::uint64_t address) {
  constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15;
  constexpr unsigned bits = 8;
  static_assert(bucket_count == std::size_t{1} << bits);
  return buckets_[(address * golden_ratio) >> (64 - bits)];
}

void Futexes::add(Waiter& waiter) {
  Bucket& bucket = bucket_of(waiter.address);
  waiter.before = bucket.last;
  waiter.behind = nullptr;
  (bucket.last == nullptr ? bucket.first : bucket.last->behind) = &waiter;
  bucket.last = &waiter;
}

void Futexes::remove(Waiter& waiter) {
  Bucket& bucket = bucket_of(waiter.address);
  (waiter.before == nullptr ? bucket.first : waiter.before->behind) = waiter.behind;
  (waiter.behind == nullptr ? bucket.last : waiter.behind->before) = waiter.before;
}

Futexes::Waiter* Futexes::next_at(Waiter* from, std::uint64_t address) {
  while (from != nullptr && from->address != address) {
    from = from->behind;
  }
  return from;
}

Futexes::Waiter* Futexes::first_at(std::uint64_t address) {
  return next_at(bucket_of(address).first, address);
}

void Futexes::wake_one(Waiter& waiter) {
  remove(waiter);
  waiter.is_woken = true;
  scheduler_.wake(*waiter.thread);
}

std::uint32_t Futexes::wake(std::uint64_t address, std::uint32_t most, std::uint32_t bits) {
  std::uint32_t woken = 0;
  Waiter* next = first_at(address);
  while (next != nullptr && woken < most) {
    Waiter& waiter = *next;
    next = next_at(waiter.behind, address);
    if ((waiter.bits & bits) != 0) {
      wake_one(waiter);
      ++woken;
    }
  }
  return woken;
}

std::uint32_t Futexes::move(std::uint64_t from, std::uint64_t to, std::uint32_t most) {
  std::uint32_t moved = 0;
  Waiter* next = from == to ? nullptr : first_at(from);
  while (next != nullptr && moved < most) {
    Waiter& waiter = *next;
    next = next_at(waiter.behind, from);
    remove(waiter);
    waiter.address = to;
    add(waiter);
    ++moved;
  }
  return moved;
}

} // namespace guest::linux
