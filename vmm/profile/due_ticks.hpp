// SPDX-License-Identifier: MIT
// Of one vCPU: how many ticks of the profile's clock fall to what it has just done. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vmm/vcpu/vcpu_ticks.hpp"

namespace vmm {

class DueTicks {
 public:
  explicit DueTicks(std::uint64_t period_ns) : period_ns_(period_ns) {}

  // The ticks since it was asked last; the first time there are none. What a vCPU was held for is
  // nobody's. A guest has a tick or a few, because each brings it out of KVM_RUN: where there are
  // more, the process was stopped or not scheduled, and a second of that counts at most.
  [[nodiscard]] std::uint64_t take(std::uint64_t now_ns, VcpuTurn turn) {
    if (due_ns_ == 0) {
      due_ns_ = now_ns + period_ns_;
    }
    if (now_ns < due_ns_) {
      return 0;
    }
    const std::uint64_t ticks = 1 + (now_ns - due_ns_) / period_ns_;
    due_ns_ += ticks * period_ns_;
    switch (turn) {
    case VcpuTurn::guest:
      return std::min(ticks, std::max<std::uint64_t>(ns_per_s / period_ns_, 1));
    case VcpuTurn::host:
      return ticks;
    case VcpuTurn::held:
      return 0;
    }
    return 0;
  }

 private:
  static constexpr std::uint64_t ns_per_s = 1'000'000'000;

  std::uint64_t period_ns_;
  std::uint64_t due_ns_ = 0; // the next tick; 0: never asked
};

} // namespace vmm
