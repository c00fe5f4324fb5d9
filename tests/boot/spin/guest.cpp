// SPDX-License-Identifier: MIT
// A loop of --arg iterations=, timed by the guest's clock: tools/bench-native compares it with the
// same loop on the host. iterations=0 spins without end (for tests of stopping a busy guest).
#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"

namespace {
int run(guest::Env& env) {
  const std::uint64_t iterations = env.arg_number("iterations", 100'000'000);
  std::uint64_t sum = 0;
  const std::uint64_t start = env.now_ns();
  for (std::uint64_t index = 0; iterations == 0 || index < iterations; ++index) {
    sum += index;
    guest::arch::keep(sum);
    if (iterations == 0 && index == 1) {
      guest::print("spinning\n");
    }
  }
  guest::print("guest_ns {}\n", env.now_ns() - start);
  return 0;
}
} // namespace

EBB_WORKLOAD(test, "spin", run, guest::Parameter::number("iterations", 0, ~std::uint64_t{0}));
