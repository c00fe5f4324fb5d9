// SPDX-License-Identifier: MIT
// Attacks that need a second vCPU. It never idles meanwhile: the kernel's idle loop takes in
// answers of its own accord, and what an attack waits for would be gone.
#pragma once

#include <atomic>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"

namespace hostile {

// Set by the attack when the disturbance is to stop.
using Calm = std::atomic<bool>;

// vCPU 0 does attack(calm), which ends the guest; the others repeat disturb(vcpu) until it is calm.
template <typename Attack, typename Disturb>
[[noreturn]] void attack_beside(guest::Env& env, Attack attack, Disturb disturb) {
  Calm calm{false};
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
    for (;;) {
      if (calm.load(std::memory_order_acquire)) {
        guest::arch::pause();
      } else {
        disturb(vcpu);
      }
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
