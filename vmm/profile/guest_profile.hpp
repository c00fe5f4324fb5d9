// SPDX-License-Identifier: MIT
// --profile: where each vCPU is, so many times a second. A timer a vCPU gets its thread out of
// KVM_RUN, which looks at its own registers and walks the stack that they name; what it finds is
// counted until the guest has ended. Without the option nothing of this exists.
//
// Time counts, not ticks: a sample that comes late, because the vCPU's thread was busy in the vmm,
// counts for all that were due.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/debug/guest_view.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/profile/due_ticks.hpp"
#include "vmm/profile/program_code.hpp"
#include "vmm/profile/sample_series.hpp"
#include "vmm/profile/stack_counts.hpp"
#include "vmm/profile/tick_timers.hpp"
#include "vmm/vcpu/vcpu_ticks.hpp"

namespace vmm {

enum class SampleTimes : std::uint8_t { forgotten, kept };

// What a profile looks at; all of it outlives the profile.
struct GuestProfileParts {
  std::span<const Vcpu> vcpus;
  const GuestMemory& memory;
  std::function<abi::Gpa()> plugged_end; // as GuestView has it
  int signal = 0;                        // that gets a vCPU's thread out of KVM_RUN
  CodeLines lines = CodeLines::no;       // of programs
  SampleTimes times = SampleTimes::forgotten;
};

class GuestProfile final : public VcpuTicks {
 public:
  // Environment error as GuestView::check_access has it.
  static Result<std::unique_ptr<GuestProfile>> create(GuestProfileParts parts, std::uint32_t hz);

  // First thing on each vCPU's thread; what went wrong is told by ready().
  void on_thread_start() { timers_.add_this_thread(); }
  // Once all have started. Environment error when one has no timer.
  [[nodiscard]] Result<void> ready() const { return timers_.result(); }

  void look(unsigned vcpu, VcpuTurn turn) override;

  // Where programs' code is told.
  [[nodiscard]] ProgramCode& code() { return code_; }
  [[nodiscard]] const ProgramCode& code() const { return code_; }

  // When no vCPU runs any more.
  void stop() { timers_.stop(); }
  // Afterwards: what there was, by vCPU; addresses are places of code().
  [[nodiscard]] std::span<const StackCounts> counts() const { return counts_; }
  // The same as it came, where times are kept.
  [[nodiscard]] std::span<const SampleSeries> series() const { return series_; }
  [[nodiscard]] std::uint64_t period_ns() const { return period_ns_; }

 private:
  GuestProfile(GuestProfileParts parts, std::uint32_t hz);

  [[nodiscard]] Stack stack_of(const Vcpu& vcpu, VcpuTurn turn) const;

  const GuestProfileParts parts_;
  const std::uint64_t period_ns_;
  const GuestView view_;
  TickTimers timers_;
  ProgramCode code_;
  std::vector<DueTicks> due_; // of each vCPU
  std::vector<StackCounts> counts_;
  std::vector<SampleSeries> series_; // none where times are not kept
};

} // namespace vmm
