// SPDX-License-Identifier: MIT
#include "vmm/step/step_session.hpp"

#include <utility>

#include "vmm/vcpu/vcpu_threads.hpp"

namespace vmm {

StepSession::StepSession(TraceRecorder& recorder, GuestEnd& end, LiveGuest guest,
                         AfterDetach after_detach)
    : gate_(guest.vcpus, VcpuThreads::kick_signal),
      stepper_({.recorder = recorder,
                .gate = gate_,
                .end = end,
                .guest = std::move(guest),
                .console = [this](const hvtrace::StepLoop& loop,
                                  int stop_fd) { return console_.run(loop, stop_fd); },
                .after_detach = after_detach}) {}

} // namespace vmm
