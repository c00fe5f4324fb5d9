// SPDX-License-Identifier: MIT
// What `vmm --step` is made of: the gate that keeps vCPUs out of the guest, the console that
// commands come from, and the stepper between them.
#pragma once

#include "vmm/record/trace_recorder.hpp"
#include "vmm/step/live_commands.hpp"
#include "vmm/step/live_stepper.hpp"
#include "vmm/trace/step_console.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/vcpu_gate.hpp"

namespace vmm {

class StepSession {
 public:
  using AfterDetach = LiveStepperParts::AfterDetach;

  // All outlive the session, as does what `guest` refers to.
  StepSession(TraceRecorder& recorder, GuestEnd& end, LiveGuest guest, AfterDetach after_detach);
  StepSession(const StepSession&) = delete;
  StepSession& operator=(const StepSession&) = delete;

  [[nodiscard]] LiveStepper& stepper() { return stepper_; }
  // Every vCPU's.
  [[nodiscard]] VcpuHook& hook() { return gate_; }

  // The guest has ended: no vCPU waits any more.
  void let_go() { gate_.open_for_good(); }

 private:
  VcpuGate gate_;
  hvtrace::StepConsole console_;
  LiveStepper stepper_;
};

} // namespace vmm
