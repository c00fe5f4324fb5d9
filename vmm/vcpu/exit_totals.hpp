// SPDX-License-Identifier: MIT
// What brought vCPUs out of the guest, counted over all of them.
#pragma once

#include <cstdint>

namespace vmm {

struct ExitTotals {
  std::uint64_t exits = 0;     // returns from KVM_RUN other than kicks
  std::uint64_t doorbells = 0; // of these, rings: not those that an eventfd took
  std::uint64_t vmcalls = 0;   // of these, by a hypercall instruction
};

// Calls that made memory resident before the guest's first touch.
struct PrefaultTotals {
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
};

} // namespace vmm
