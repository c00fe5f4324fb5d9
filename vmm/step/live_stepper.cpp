// SPDX-License-Identifier: MIT
#include "vmm/step/live_stepper.hpp"

#include <csignal>
#include <utility>

namespace vmm {

using hvtrace::StepConsole;

LiveStepper::LiveStepper(LiveStepperParts parts)
    : parts_(std::move(parts)), trace_(parts_.recorder.writer()), stepper_(trace_),
      text_(trace_.header(), &parts_.guest.symbols), commands_(stepper_, parts_.guest) {}

void LiveStepper::at_hypercall(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) {
  if (!running_free_) {
    stop_at(LiveStop::at_hypercall(vcpu, call, argument), parts_.end.stop_fd());
  }
}

void LiveStepper::at_batch(const Batch& batch, BatchFaults& faults) {
  if (!running_free_) {
    stop_at(LiveStop::at_batch(batch, faults), parts_.end.stop_fd());
  }
}

void LiveStepper::at_end(const GuestEnding& ending, int stop_fd) {
  if (ending.kind != EndKind::interrupted) { // that was the user's own wish
    stop_at(LiveStop::at_end(ending), stop_fd);
  }
}

void LiveStepper::stop_at(LiveStop stop, int stop_fd) {
  const std::scoped_lock turn(turn_);
  if (stop.kind != LiveStop::Kind::ended && (running_free_ || parts_.end.ended())) {
    return;
  }
  const auto catch_up = [this] {
    parts_.recorder.take_guest_events();
    trace_.refresh();
  };
  catch_up();
  if (!commands_.reached(stop.kind)) {
    return;
  }
  parts_.gate.close();
  catch_up(); // with what the other vCPUs did until they were out
  look_around(stop, stop_fd);
  parts_.gate.open();
}

void LiveStepper::look_around(LiveStop& stop, int stop_fd) {
  const StepConsole::End left = parts_.console(
      {.screen = [this](hvtrace::ScreenSize size) { return render_screen(stepper_, text_, size); },
       .execute = [this](std::string_view line) { return commands_.execute(line); },
       .opening = commands_.begin(stop)},
      stop_fd);
  if (left == StepConsole::End::quit) {
    parts_.end.end({EndKind::interrupted, SIGINT, "ended from the stepper"});
  } else if (left == StepConsole::End::input_over) {
    commands_.detach();
  }
  const LiveCommands::Goal goal = commands_.goal();
  running_free_ = goal == LiveCommands::Goal::detached || goal == LiveCommands::Goal::end;
  if (goal == LiveCommands::Goal::detached &&
      parts_.after_detach == LiveStepperParts::AfterDetach::mute) {
    parts_.recorder.mute();
  }
}

} // namespace vmm
