// SPDX-License-Identifier: MIT
#include "vmm/debug/guest_debugger.hpp"

#include <cassert>
#include <csignal>
#include <utility>

#include "shared/layout.h"

// vmm/debug/debug_stubs.S. Only their addresses mean something.
extern "C" {
extern const std::byte debug_stubs[];
extern const std::byte debug_stubs_end[];
}

namespace vmm {

namespace {

constexpr std::uint8_t vector_debug = 1;
constexpr std::uint8_t vector_breakpoint = 3;

} // namespace

std::span<const std::byte> GuestDebugger::stubs() {
  return {debug_stubs, static_cast<std::size_t>(debug_stubs_end - debug_stubs)};
}

Result<std::unique_ptr<GuestDebugger>> GuestDebugger::create(GuestDebuggerParts parts,
                                                             std::span<const Vcpu> vcpus) {
  EBB_TRY(GuestView::check_access("gdb"));
  EBB_TRY_ASSIGN(brake, VcpuBrake::create(static_cast<unsigned>(vcpus.size()), parts.kick));
  std::unique_ptr<GuestDebugger> debugger(new GuestDebugger(std::move(parts)));
  debugger->brake_ = std::move(brake);
  for (unsigned index = 0; index < vcpus.size(); ++index) {
    const abi::Gpa stack_high{EBB_DEBUG_STACK_GPA +
                              std::uint64_t{index + 1} * EBB_DEBUG_STACK_BYTES};
    EBB_TRY_ASSIGN(vcpu, DebuggedVcpu::create(
                             vcpus[index], debugger->view_, debugger->parts_.plan.stacks[index],
                             stack_high, debugger->parts_.trap_stubs_gpa, debugger->parts_.tss));
    debugger->seats_.push_back({.vcpu = vcpu, .exception = {}});
  }
  return debugger;
}

GuestDebugger::GuestDebugger(GuestDebuggerParts parts)
    : parts_(std::move(parts)), view_(parts_.memory, parts_.plugged_end, parts_.input),
      breakpoints_(view_) {}

void GuestDebugger::fail(const Error& error) {
  parts_.end.end({EndKind::host_failed, 0, "debugger: " + error.message});
}

bool GuestDebugger::done(const Result<void>& result) {
  if (!result) {
    fail(result.error());
  }
  return result.has_value();
}

// DebuggedVcpu owns immediate_exit.
bool GuestDebugger::before_entry(unsigned vcpu, std::uint8_t& /*immediate_exit*/) {
  DebuggedVcpu& debugged = seats_[vcpu].vcpu;
  // In this order: a stop that is asked for from here on sets the byte again, and one that was
  // asked for before shows in what follows.
  debugged.allow_entry();
  if (parts_.end.ended()) {
    return false;
  }
  if (brake_->may_enter(vcpu)) {
    return true;
  }
  if (!debugged.finish_exit()) {
    fail({ErrorClass::environment, "KVM does not finish an exit"});
    return false;
  }
  // The kick may have come between a trap and the stub's output.
  DebugStop stop{.vcpu = vcpu};
  const auto arrival = take_trap(vcpu, stop);
  if (!arrival) {
    fail(arrival.error());
  } else if (*arrival == Arrival::stopped) {
    brake_->note(stop);
  }
  brake_->wait(vcpu);
  return false;
}

bool GuestDebugger::on_debug_port(unsigned vcpu) {
  if (!seats_[vcpu].vcpu.finish_exit()) {
    return false;
  }
  DebugStop stop{.vcpu = vcpu};
  const auto arrival = take_trap(vcpu, stop);
  if (!arrival) {
    fail(arrival.error());
    return true;
  }
  if (*arrival == Arrival::stopped) {
    brake_->report(stop);
  }
  return *arrival != Arrival::none;
}

Result<GuestDebugger::Arrival> GuestDebugger::take_trap(unsigned vcpu, DebugStop& stop) {
  Seat& seat = seats_[vcpu];
  const auto trap = seat.vcpu.trap();
  if (!trap) {
    return Arrival::none;
  }
  stop.vector = trap->vector;
  if (trap->vector == vector_breakpoint) {
    const std::uint64_t address = trap->rip - 1; // int3 has one byte
    if (!breakpoints_.at(address)) {
      EBB_TRY(seat.vcpu.pass_on(*trap));
      return Arrival::handled;
    }
    stop.reason = StopReason::breakpoint;
    EBB_TRY(seat.vcpu.rewind(*trap, address));
    return Arrival::stopped;
  }
  if (trap->vector == vector_debug && (seat.stepping || seat.step_cancelled || trap->stepping)) {
    EBB_TRY(seat.vcpu.rewind(*trap, trap->rip));
    seat.step_cancelled = false;
    stop.reason = StopReason::stepped;
    return seat.stepping ? Arrival::stopped : Arrival::handled;
  }
  if (!attached_) {
    EBB_TRY(seat.vcpu.pass_on(*trap));
    return Arrival::handled;
  }
  EBB_TRY(seat.vcpu.rewind(*trap, trap->rip));
  seat.exception = *trap;
  stop.reason = StopReason::exception;
  return Arrival::stopped;
}

void GuestDebugger::after_output(unsigned vcpu) {
  Seat& seat = seats_[vcpu];
  if (!seat.stepping || parts_.end.ended()) {
    return;
  }
  if (!seat.vcpu.finish_exit()) {
    fail({ErrorClass::environment, "KVM does not finish an exit"});
    return;
  }
  const auto in_ring_0 = seat.vcpu.is_in_ring_0();
  if (in_ring_0 && !*in_ring_0) {
    brake_->report({.vcpu = vcpu, .reason = StopReason::stepped});
  }
}

void GuestDebugger::before_end(unsigned vcpu, FatalEnd why) {
  if (!attached_) {
    return;
  }
  // The result does not matter: what is shown of a vCPU that cannot go on is what there is.
  static_cast<void>(seats_[vcpu].vcpu.finish_exit());
  brake_->report(
      {.vcpu = vcpu, .reason = why == FatalEnd::panic ? StopReason::panic : StopReason::crash});
}

DebugStop GuestDebugger::stop() {
  held_ = brake_->hold_all();
  if (!held_) {
    return {};
  }
  const DebugStop told = brake_->take_stop().value_or(DebugStop{});
  told_vcpu_ = told.vcpu;
  for (Seat& seat : seats_) {
    if (seat.stepping) {
      seat.stepping = false;
      seat.step_cancelled = true;
      done(seat.vcpu.cancel_step());
    }
  }
  return told;
}

void GuestDebugger::resume(std::span<const VcpuResume> actions) {
  assert(actions.size() == seats_.size());
  if (!std::exchange(held_, false)) {
    return;
  }
  for (std::size_t index = 0; index < seats_.size(); ++index) {
    Seat& seat = seats_[index];
    if (actions[index].action == VcpuAction::stay) {
      continue;
    }
    if (actions[index].pass_exception && seat.exception) {
      done(seat.vcpu.raise(*seat.exception));
    }
    seat.exception.reset();
    if (actions[index].action == VcpuAction::step) {
      seat.stepping = true;
      seat.step_cancelled = false;
      done(seat.vcpu.begin_step());
    }
  }
  brake_->let_go(actions);
}

std::optional<DebugRegisters> GuestDebugger::registers(unsigned vcpu) {
  if (!held_) {
    return std::nullopt;
  }
  const auto registers = seats_[vcpu].vcpu.registers();
  return registers ? std::optional(to_debug(*registers)) : std::nullopt;
}

bool GuestDebugger::set_registers(unsigned vcpu, const DebugRegisters& registers) {
  if (!held_) {
    return false;
  }
  auto changed = seats_[vcpu].vcpu.registers();
  return changed && apply(registers, *changed) &&
         seats_[vcpu].vcpu.set_registers(*changed).value_or(false);
}

std::optional<std::uint64_t> GuestDebugger::cr3_of(unsigned vcpu) const {
  if (!held_) {
    return std::nullopt;
  }
  const auto cr3 = seats_[vcpu].vcpu.cr3();
  return cr3 ? std::optional(*cr3) : std::nullopt;
}

std::size_t GuestDebugger::read_memory(unsigned vcpu, std::uint64_t address,
                                       std::span<std::byte> to) {
  const auto cr3 = cr3_of(vcpu);
  return cr3 ? breakpoints_.read(*cr3, address, to) : 0;
}

bool GuestDebugger::write_memory(unsigned vcpu, std::uint64_t address,
                                 std::span<const std::byte> from) {
  const auto cr3 = cr3_of(vcpu);
  return cr3 && breakpoints_.write(*cr3, address, from);
}

bool GuestDebugger::insert_breakpoint(unsigned vcpu, std::uint64_t address) {
  // Code of ring 0 cannot be interrupted by int3 on every KVM, and its stack is the trap's own.
  if (address - parts_.trap_stubs_gpa < EBB_TRAP_CODE_BYTES ||
      address - EBB_DEBUG_CODE_GPA < abi::page_bytes) {
    return false;
  }
  const auto cr3 = cr3_of(vcpu);
  return cr3 && breakpoints_.insert(*cr3, address);
}

void GuestDebugger::remove_breakpoint(std::uint64_t address) {
  if (held_) {
    breakpoints_.remove(address);
  }
}

std::string GuestDebugger::describe(unsigned vcpu) {
  if (!held_) {
    return "ended";
  }
  const auto in_ring_0 = seats_[vcpu].vcpu.is_in_ring_0();
  return !in_ring_0 ? "unknown" : *in_ring_0 ? "in ring 0" : "at CPL3";
}

void GuestDebugger::release() {
  attached_ = false;
  static_cast<void>(stop());
  if (!held_) {
    return;
  }
  breakpoints_.remove_all();
  while (brake_->take_stop()) {
  }
  // A vCPU that has stopped at its end goes on to it, told or not.
  const std::vector<VcpuResume> actions(seats_.size());
  resume(actions);
}

void GuestDebugger::kill() {
  parts_.end.end({EndKind::interrupted, SIGKILL, "guest killed by the debugger"});
}

std::string GuestDebugger::monitor(std::string_view command) {
  const std::string_view word = command.substr(0, command.find(' '));
  if (word != "core") {
    return parts_.monitor(command);
  }
  if (word != command) {
    return "monitor core: takes no name; the file is that of --core\n";
  }
  if (!parts_.core) {
    return "monitor core: needs a vmm that was started with --core FILE, and without --oracle: no "
           "file is opened once the guest runs\n";
  }
  return leave_core();
}

std::string GuestDebugger::leave_core() {
  CoreFacts facts{{}, SIGTRAP, {}};
  for (unsigned vcpu = 0; vcpu < seats_.size(); ++vcpu) {
    if (const auto found = registers(vcpu)) {
      const auto place = vcpu == told_vcpu_ ? facts.threads.begin() : facts.threads.end();
      facts.threads.insert(place, {vcpu, *found});
    }
  }
  return facts.threads.empty() ? "monitor core: the guest has ended\n"
                               : parts_.core(std::move(facts));
}

} // namespace vmm
