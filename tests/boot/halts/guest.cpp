// SPDX-License-Identifier: MIT
// Halts with deadlines about as long as a halt takes to begin: an interrupt comes before it, as it
// begins, and behind it. One that is lost is a guest that sleeps for good.
#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"

namespace {

// Ticks of the TSC; the longest is some 100 us.
constexpr std::uint64_t steps = 64;
constexpr std::uint64_t ticks_per_step = 4'000;

int run(guest::Env& env) {
  const std::uint64_t halts = env.arg_number("halts", 20'000);
  env.set_events_total(halts);
  for (std::uint64_t index = 0; index < halts; ++index) {
    guest::arch::halt_until(guest::arch::rdtsc() + index % steps * ticks_per_step);
    env.count_events(1);
  }
  return 0;
}

} // namespace

EBB_WORKLOAD(test, "halts", run, guest::Parameter::number("halts", 1, ~std::uint64_t{0}));
