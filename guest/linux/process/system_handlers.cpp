// SPDX-License-Identifier: MIT
// Where a thread goes on instead of behind its call: in a handler, behind one, in the program that
// an execve has loaded, nowhere.
#include <algorithm>
#include <csignal>

#include "guest/linux/process/system.hpp"
#include "guest/linux/signals/signal_frame.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t initial_flags = 0x202; // with interrupts
constexpr std::uint64_t red_zone_bytes = 128;  // below RSP, in use by functions that call none
constexpr std::uint64_t addresses_end = std::uint64_t{1} << 47;

} // namespace

void System::go_on(Registers& registers, const ExtendedState& state) {
  Thread& thread = scheduler_.running();
  if (thread.is_to_end) {
    end_thread();
  }
  if (self().follower) {
    registers = {.rip = self().follower->instruction,
                 .cs = registers.cs,
                 .flags = initial_flags,
                 .rsp = self().follower->stack,
                 .ss = registers.ss};
    clear_state(state);
    self().follower.reset();
  }
  if (thread.handler_returns) {
    thread.handler_returns = false;
    if (!pop_handler(registers, state)) {
      end_by_signal(self(), SIGSEGV);
    }
  }
  while (auto taken = signals().take()) {
    count_overruns(taken->cause);
    suffer(self(), taken->effect, taken->cause.signal);
    if (thread.is_to_end) {
      end_thread(); // while it was stopped
    }
    if (taken->effect == SignalEffect::handler) {
      if (thread.interrupted && (taken->action.flags & SA_RESTART) != 0) {
        call_again(registers, *thread.interrupted);
      }
      thread.interrupted.reset();
      push_handler(registers, state, *taken);
    }
  }
  if (thread.interrupted) {
    call_again(registers, *thread.interrupted);
    thread.interrupted.reset();
  }
}

void System::call_again(Registers& registers, std::uint64_t number) const {
  registers.rip = self().memory->sites.call_before(registers.rip);
  registers.rax = number;
}

// ---- handlers ----------------------------------------------------------------------------------

void System::push_handler(Registers& registers, const ExtendedState& state,
                          const Signals::Taken& taken) {
  const AlternateStack& stack = signals().alternate_stack;
  std::uint64_t top = registers.rsp - red_zone_bytes;
  if ((taken.action.flags & SA_ONSTACK) != 0 && (stack.flags & AlternateStack::disabled) == 0 &&
      !stack.is_used_at(registers.rsp)) {
    top = stack.start + stack.bytes;
  }
  const std::uint64_t state_bytes = marked_state_bytes(state.bytes.size());
  const SignalPlace place = place_below(top, state_bytes);
  const bool overflows = stack.contains(top - 1) && !stack.contains(place.frame);
  if (place.frame >= top || overflows || !user_.may_write(place.frame, top - place.frame)) {
    end_by_signal(self(), SIGSEGV);
  }
  static_cast<void>(user_.store(place.frame, make_frame(registers, taken, stack, place)));
  const std::span copy(reinterpret_cast<std::byte*>(place.extended_state), state_bytes); // NOLINT
  std::ranges::copy(state.bytes, copy.begin());
  mark_state(copy, state);
  enter_handler(registers, taken, place);
  clear_state(state);
}

bool System::pop_handler(Registers& registers, const ExtendedState& state) {
  SignalFrame frame;
  // The handler's RET took the restorer's address.
  if (!user_.fetch(registers.rsp - sizeof frame.restorer, frame)) {
    return false;
  }
  const std::uint64_t saved = frame.context.extended_state;
  if (saved == 0) {
    clear_state(state);
  } else {
    if (!user_.may_read(saved, state.bytes.size())) {
      return false;
    }
    std::copy_n(reinterpret_cast<const std::byte*>(saved), state.bytes.size(), // NOLINT
                state.bytes.begin());
    clean_state(state);
  }
  restore_alternate_stack(frame.stack, registers.rsp);
  signals().set_blocked(frame.blocked);
  machine_.set_handled_signals(handled_signals());
  leave_handler(registers, frame.context);
  return registers.rip < addresses_end;
}

// What a handler leaves of it in its frame, if that is one and it is not in use.
void System::restore_alternate_stack(AlternateStack stack, std::uint64_t stack_pointer) {
  if (signals().alternate_stack.is_used_at(stack_pointer)) {
    return;
  }
  if ((stack.flags & AlternateStack::disabled) != 0) {
    signals().alternate_stack = {};
  } else if ((stack.flags & ~AlternateStack::in_use) == 0 &&
             stack.bytes >= AlternateStack::least_bytes) {
    stack.flags = 0;
    signals().alternate_stack = stack;
  }
}

// As Linux tells a stack that overflows: what is kept free below it is nobody's mapping.
bool System::take_fault(SignalCause cause) {
  if (cause.signal == SIGSEGV && cause.code == SEGV_ACCERR &&
      ProgramLoader::is_below_stack(cause.address, self().memory->stack_start)) {
    cause.code = SEGV_MAPERR;
  }
  return signals().fault(cause) == SignalEffect::handler;
}

} // namespace guest::linux
