// SPDX-License-Identifier: MIT
#include "guest/linux/threads/kernel_lock.hpp"

#include <algorithm>
#include <cassert>

namespace guest::linux {

// Whoever has called it has had the kernel before.
KernelLock::Entry KernelLock::arrive(unsigned vcpu) {
  const std::uint32_t before =
      std::atomic_ref(interrupts_.called(vcpu)).exchange(0, std::memory_order_relaxed);
  if (seats_[vcpu].seen != generation_) {
    seats_[vcpu].seen = generation_;
    interrupts_.forget(vcpu);
  }
  return before == 0 ? Entry::own : Entry::called;
}

void KernelLock::leave_for(unsigned vcpu, Place place) {
  assert(is_held_by(vcpu));
  holder_.store(nobody, std::memory_order_relaxed);
  if (vcpus_ != 1) {
    seats_[vcpu].place.store(place, std::memory_order_release);
    lock_.unlock();
  }
}

// One that is called already is on its way. One that rests looks itself, and of one that is about
// to halt either it sees the call, or this the halt. Who waits for the kernel need not be told.
void KernelLock::call(unsigned other) {
  assert(!is_held_by(other));
  if (std::atomic_ref(interrupts_.called(other)).exchange(1, std::memory_order_seq_cst) != 0) {
    return;
  }
  const Place place = seats_[other].place.load(std::memory_order_seq_cst);
  if (place == Place::halt || place == Place::program) {
    interrupts_.interrupt(other);
  }
}

std::uint64_t KernelLock::forgotten() const {
  std::uint64_t least = generation_;
  for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
    least = std::min(least, seats_[vcpu].seen);
  }
  return least;
}

void KernelLock::call_late_ones(unsigned vcpu) {
  for (unsigned other = 0; other < vcpus_; ++other) {
    if (other != vcpu && seats_[other].seen != generation_) {
      call(other);
    }
  }
}

void KernelLock::call_from_program(unsigned vcpu) {
  for (unsigned other = 0; other < vcpus_; ++other) {
    if (other != vcpu && seats_[other].place.load(std::memory_order_acquire) == Place::program) {
      call(other);
    }
  }
}

} // namespace guest::linux
