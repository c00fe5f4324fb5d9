// SPDX-License-Identifier: MIT
// The language of `vmm --step`: that of `hvtrace step` over the trace as it grows, and on top of it
// what only a running guest has: memory, registers, and answers that can still be changed. A
// command that goes beyond the latest record lets the guest run on, until what it asked for is
// reached.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "shared/hypercall.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/hints/adversary/fault_plan.hpp"
#include "vmm/hints/batch.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/trace/step_commands.hpp"
#include "vmm/trace/stepper.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// What can be looked at. References outlive the commands.
struct LiveGuest {
  const GuestMemory& memory;
  const Symbols& symbols;
  unsigned vcpus = 1;
  std::function<std::string(unsigned vcpu)> registers; // of a vCPU that exists
};

// Where a guest stands while commands are taken.
struct LiveStop {
  enum class Kind : std::uint8_t { hypercall, batch, ended };
  Kind kind = Kind::hypercall;
  unsigned vcpu = 0; // whose registers are meant
  std::string what;  // one line
  // Of a batch: what it is, and what will become of it.
  const Batch* batch = nullptr;
  BatchFaults* faults = nullptr;

  static LiveStop at_hypercall(unsigned vcpu, abi::Hypercall call, std::uint64_t argument);
  static LiveStop at_batch(const Batch& batch, BatchFaults& faults);
  static LiveStop at_end(const GuestEnding& ending);
};

// For one thread at a time.
class LiveCommands {
 public:
  enum class Goal : std::uint8_t {
    hypercall, // the next one, or next batch
    batch,
    condition,
    end,      // of the guest
    detached, // no more stops at all
  };

  // `stepper` reads the guest's trace.
  LiveCommands(hvtrace::Stepper& stepper, LiveGuest guest)
      : stepper_(stepper), guest_(std::move(guest)), history_(stepper, guest_.symbols) {}

  // Whether what the guest was let run for is reached at such a stop. The trace has been brought up
  // to date before.
  [[nodiscard]] bool reached(LiveStop::Kind kind);
  // The stop begins; it outlives the commands that follow. Returns what to say of it.
  [[nodiscard]] std::string begin(LiveStop& stop);
  hvtrace::StepOutcome execute(std::string_view line);
  // As the command.
  void detach() { goal_ = Goal::detached; }

  [[nodiscard]] Goal goal() const { return goal_; }
  [[nodiscard]] static std::string help();

 private:
  hvtrace::StepOutcome show_memory(std::string_view rest) const;
  hvtrace::StepOutcome show_registers(std::string_view rest) const;
  hvtrace::StepOutcome change_answer(char command, std::string_view rest);
  hvtrace::StepOutcome run_on(char command, std::string_view rest);
  void go_to_present() { stepper_.seek(stepper_.source().end() - 1); }

  hvtrace::Stepper& stepper_;
  const LiveGuest guest_;
  hvtrace::StepCommands history_;
  LiveStop* stop_ = nullptr;
  Goal goal_ = Goal::hypercall;
  std::uint64_t stops_to_go_ = 1; // of Goal::hypercall
};

} // namespace vmm
