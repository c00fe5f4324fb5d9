// SPDX-License-Identifier: MIT
// Attacks that need a second vCPU. It never idles meanwhile: the kernel's idle loop takes in
// answers of its own accord, and what an attack waits for would be gone.
#pragma once

#include <atomic>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"

namespace hostile {

// By which the attack stops the disturbance.
class Calm {
 public:
  explicit Calm(unsigned disturbers) : disturbers_(disturbers) {}

  // Returns when all disturbers have finished what they were at: one that is not running just now
  // may be in the middle of it.
  void impose() {
    imposed_.store(true, std::memory_order_release);
    while (quiet_.load(std::memory_order_acquire) != disturbers_) {
      guest::arch::pause();
    }
  }

  // A disturber, over and over, until it returns; then it may not disturb any more.
  template <typename Disturb> void until_imposed(Disturb disturb) {
    while (!imposed_.load(std::memory_order_acquire)) {
      disturb();
    }
    quiet_.fetch_add(1, std::memory_order_acq_rel);
  }

 private:
  const unsigned disturbers_;
  std::atomic<bool> imposed_{false};
  std::atomic<unsigned> quiet_{0};
};

// vCPU 0 does attack(calm), which ends the guest; the others repeat disturb(vcpu) until it is calm.
template <typename Attack, typename Disturb>
[[noreturn]] void attack_beside(guest::Env& env, Attack attack, Disturb disturb) {
  Calm calm(env.vcpus() - 1);
  // A vCPU that is still on its way out of the idle loop would take in the attack's first answers.
  std::atomic<unsigned> present{0};
  env.run_on_all([&](unsigned vcpu) {
    present.fetch_add(1, std::memory_order_acq_rel);
    while (present.load(std::memory_order_acquire) != env.vcpus()) {
      guest::arch::pause();
    }
    if (vcpu == 0) {
      attack(calm);
    }
    calm.until_imposed([&] { disturb(vcpu); });
    for (;;) {
      guest::arch::pause();
    }
  });
  env.exit(1);
}

// The same with quiet neighbours.
template <typename Attack> [[noreturn]] void attack_alone(guest::Env& env, Attack attack) {
  attack_beside(
      env, [&](Calm&) { attack(); }, [](unsigned) { guest::arch::pause(); });
}

} // namespace hostile
