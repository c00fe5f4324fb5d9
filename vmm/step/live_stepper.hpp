// SPDX-License-Identifier: MIT
// `vmm --step`: holds the guest at its hypercalls, shows where it stands and takes commands.
//
// The thread that makes the hypercall, or serves the batch, waits in at_...() until it may go on.
// All vCPUs are out of the guest meanwhile, so memory and registers hold still; one stop at a time,
// others wait for their turn. Host threads go on: answers that were delayed come when they are due,
// and the guest's clocks run.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "vmm/record/trace_recorder.hpp"
#include "vmm/step/live_commands.hpp"
#include "vmm/step/live_trace.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/step_console.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/vcpu_gate.hpp"

namespace vmm {

// References outlive the stepper.
struct LiveStepperParts {
  TraceRecorder& recorder;
  VcpuGate& gate;
  GuestEnd& end;
  LiveGuest guest;
  // Takes commands, as StepConsole::run.
  std::function<hvtrace::StepConsole::End(const hvtrace::StepLoop&, int stop_fd)> console;
  enum class AfterDetach : std::uint8_t { record, mute };
  AfterDetach after_detach = AfterDetach::record;
};

class LiveStepper {
 public:
  explicit LiveStepper(LiveStepperParts parts);

  // Before the call is carried out, on the vCPU's thread, which is outside of the gate.
  void at_hypercall(unsigned vcpu, abi::Hypercall call, std::uint64_t argument);
  // A batch is about to be worked on as `faults` say, which may change. By the thread that does so.
  void at_batch(const Batch& batch, BatchFaults& faults);
  // The guest is over and nothing records any more but the recorder's own thread. `stop_fd`: as of
  // StepConsole.
  void at_end(const GuestEnding& ending, int stop_fd);

 private:
  void stop_at(LiveStop stop, int stop_fd);
  void look_around(LiveStop& stop, int stop_fd);

  const LiveStepperParts parts_;
  // Nothing but the end stops the guest: saves calls from waiting for a turn.
  std::atomic<bool> running_free_{false};

  std::mutex turn_; // guards everything below, and is held during a stop
  LiveTrace trace_;
  hvtrace::Stepper stepper_;
  hvtrace::EventText text_;
  LiveCommands commands_;
};

} // namespace vmm
