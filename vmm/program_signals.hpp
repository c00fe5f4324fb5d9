// SPDX-License-Identifier: MIT
// Signals of the vmm's that are the program's: those that it handles, ignores or blocks, by the
// guest's account in vCPU 0's page (shared/hypercall.hpp). The guest may say anything; a signal
// that it does not take ends the run after all.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "shared/hypercall.hpp"

namespace vmm {

class ProgramSignals {
 public:
  // Sent again within that time, a signal is the same one.
  static constexpr std::uint64_t patience_ns = 1'000'000'000;

  // `page` is vCPU 0's, in guest memory, and outlives this; `wake` interrupts that vCPU.
  ProgramSignals(abi::VcpuPage& page, std::function<void()> wake)
      : page_(page), wake_(std::move(wake)) {}

  // Has a signal, 1 to 64, reach the program. False: it is to end the run. Not for several threads.
  [[nodiscard]] bool pass(int signal, std::uint64_t now_ns);

 private:
  abi::VcpuPage& page_;
  std::function<void()> wake_;
  std::array<std::uint64_t, 65> passed_ns_{}; // when the one that the guest has not taken came
};

} // namespace vmm
