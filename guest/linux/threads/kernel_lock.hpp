// SPDX-License-Identifier: MIT
// The kernel is one vCPU's at a time; the others run the program's code meanwhile, wait for the
// kernel, or rest. Whoever is in it may call others in, and may have all of them stopped: what it
// changes then, page tables or code, nobody uses before having forgotten what was there.
//
//   program --enter()--> waits --the lock--> kernel --leave()--> program
//                                            kernel --rest()---> rests ( <-> halts ) --enter()-->
//                                            ...
//
// With one vCPU all of this costs nothing. Pure; any number of threads of a test are its vCPUs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "guest/mm/fair_lock.hpp"
#include "shared/layout.h"

namespace guest::linux {

// What is done to vCPUs.
class VcpuInterrupts {
 public:
  // The word of a vCPU that its interrupts look at: not 0, and the program's code is left for the
  // kernel. They come late, twice, or when it is 0 again.
  [[nodiscard]] virtual std::uint32_t& called(unsigned vcpu) = 0;
  // Interrupts a vCPU: the program's code, or its halt, or its next halt.
  virtual void interrupt(unsigned vcpu) = 0;
  // Makes the calling one, which is number `vcpu`, forget what it has read of page tables and code.
  virtual void forget(unsigned vcpu) = 0;

 protected:
  VcpuInterrupts() = default;
  ~VcpuInterrupts() = default;
};

class KernelLock {
 public:
  static constexpr unsigned most_vcpus = EBB_MAX_VCPUS;

  // Each vCPU enters first. `interrupts` outlives this.
  KernelLock(VcpuInterrupts& interrupts, unsigned vcpus)
      : interrupts_(interrupts), vcpus_(vcpus),
        lock_(vcpus == 1 ? mm::FairLock::Users::one : mm::FairLock::Users::many) {}
  KernelLock(const KernelLock&) = delete;
  KernelLock& operator=(const KernelLock&) = delete;

  // Of the calling vCPU, which is number `vcpu`, as everywhere below.
  [[nodiscard]] bool is_held_by(unsigned vcpu) const {
    return holder_.load(std::memory_order_relaxed) == vcpu;
  }

  // Waits for the kernel, with a copy of `relax` between looks (mm::FairLock). Whether it was
  // called: it is not any more.
  enum class Entry : std::uint8_t { own, called };
  template <typename Relax> Entry enter(unsigned vcpu, const Relax& relax) {
    Entry entry = Entry::own;
    if (vcpus_ != 1) {
      seats_[vcpu].place.store(Place::kernel, std::memory_order_release);
      lock_.lock(relax);
      entry = arrive(vcpu);
    }
    holder_.store(vcpu, std::memory_order_relaxed);
    return entry;
  }
  // For the program's code.
  void leave(unsigned vcpu) { leave_for(vcpu, Place::program); }

  // To rest; until enter().
  void rest(unsigned vcpu) { leave_for(vcpu, Place::rest); }
  // While it rests: whether it is to enter again.
  [[nodiscard]] bool is_called(unsigned vcpu) const {
    return std::atomic_ref(interrupts_.called(vcpu)).load(std::memory_order_acquire) != 0;
  }
  // Whether it may halt: from now on calls interrupt it. No: it is called.
  [[nodiscard]] bool may_halt(unsigned vcpu) {
    seats_[vcpu].place.store(Place::halt, std::memory_order_seq_cst);
    return std::atomic_ref(interrupts_.called(vcpu)).load(std::memory_order_seq_cst) == 0;
  }
  void is_awake(unsigned vcpu) { seats_[vcpu].place.store(Place::rest, std::memory_order_relaxed); }

  // By the holder: another one comes into the kernel.
  void call(unsigned other);
  // By the holder: as Machine::stop_others(), with a copy of `relax` between looks.
  template <typename Relax> void stop_others(unsigned vcpu, const Relax& relax) {
    if (vcpus_ == 1) {
      return;
    }
    seats_[vcpu].seen = ++generation_;
    call_from_program(vcpu);
    Relax wait = relax;
    for (unsigned other = 0; other < vcpus_; ++other) {
      while (other != vcpu &&
             seats_[other].place.load(std::memory_order_acquire) == Place::program) {
        wait();
      }
    }
  }

  // By the holder: how often others were stopped; the last stop behind which all have forgotten
  // what they had read; and those that have not come into the kernel.
  [[nodiscard]] std::uint64_t stops() const { return generation_; }
  [[nodiscard]] std::uint64_t forgotten() const;
  void call_late_ones(unsigned vcpu);

 private:
  static constexpr unsigned nobody = ~0U;
  enum class Place : std::uint8_t { program, kernel, rest, halt };
  struct alignas(64) Seat {
    std::atomic<Place> place{Place::kernel}; // or on its way there
    std::uint64_t seen = 0;                  // of generation_; guarded by the lock
  };

  [[nodiscard]] Entry arrive(unsigned vcpu);
  void leave_for(unsigned vcpu, Place place);
  void call_from_program(unsigned vcpu);

  VcpuInterrupts& interrupts_;
  const unsigned vcpus_;
  mm::FairLock lock_;
  std::atomic<unsigned> holder_{nobody};
  std::uint64_t generation_ = 0; // of page tables and code; guarded by the lock
  std::array<Seat, most_vcpus> seats_{};
};

} // namespace guest::linux
