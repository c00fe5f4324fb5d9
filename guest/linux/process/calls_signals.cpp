// SPDX-License-Identifier: MIT
#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>

#include "guest/linux/process/process.hpp"
#include "guest/linux/signals/signal_frame.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t set_bytes = sizeof(SignalSet);
constexpr std::uint64_t initial_flags = 0x202; // with interrupts
constexpr int status_of_signal = 128;          // of a program's end by one, as shells have it
constexpr std::uint64_t red_zone_bytes = 128;  // below RSP, in use by functions that call none
constexpr std::uint64_t addresses_end = std::uint64_t{1} << 47;
constexpr std::uint64_t least_alternate_stack = 2048; // MINSIGSTKSZ

bool is_signal(std::uint64_t number) {
  return number >= 1 && number <= last_signal;
}

} // namespace

// By the host, which may have reasons not to.
void Process::stop() {
  static_cast<void>(files_.perform({.operation = abi::FileOperation::stop}));
}

void Process::suffer(SignalEffect effect, std::uint64_t signal) {
  if (effect == SignalEffect::end) {
    end_by_signal(signal);
  }
  if (effect == SignalEffect::stop) {
    stop();
  }
}

void Process::end_by_signal(std::uint64_t signal) {
  end(static_cast<std::uint8_t>(status_of_signal + signal));
}

SignalSet Process::handled_signals() const {
  if (ends_in_order_) {
    return ~SignalSet{0};
  }
  SignalSet blocked = ~SignalSet{0}; // by all
  for (const auto& thread : scheduler_.threads()) {
    blocked &= thread->signals.blocked();
  }
  return actions_.survived() | blocked;
}

// ---- dispositions ------------------------------------------------------------------------------

Answer Process::sys_rt_sigaction(const Args& args) {
  const auto [signal, action, old_action, bytes, unused4, unused5] = args;
  if (bytes != set_bytes || !is_signal(signal) ||
      (action != 0 && (signal == SIGKILL || signal == SIGSTOP))) {
    return -EINVAL;
  }
  SignalAction next;
  if (action != 0 && !user_.fetch(action, next)) {
    return -EFAULT;
  }
  const SignalAction before = actions_.of(signal);
  if (action != 0) {
    actions_.set(signal, next);
    if (actions_.effect_of(signal) == SignalEffect::nothing) {
      shared_pending_.forget(signal);
      for (const auto& thread : scheduler_.threads()) {
        thread->signals.forget(signal);
      }
    }
    machine_.set_handled_signals(handled_signals());
  }
  return old_action == 0 || user_.store(old_action, before) ? 0 : -EFAULT;
}

Answer Process::sys_rt_sigprocmask(const Args& args) {
  const auto [how, set, old_set, bytes, unused4, unused5] = args;
  const SignalSet before = signals().blocked();
  SignalSet change = 0;
  if (bytes != set_bytes) {
    return -EINVAL;
  }
  if (set != 0) {
    if (!user_.fetch(set, change)) {
      return -EFAULT;
    }
    switch (how) {
    case SIG_BLOCK:
      signals().set_blocked(before | change);
      break;
    case SIG_UNBLOCK:
      signals().set_blocked(before & ~change);
      break;
    case SIG_SETMASK:
      signals().set_blocked(change);
      break;
    default:
      return -EINVAL;
    }
    machine_.set_handled_signals(handled_signals());
  }
  return old_set == 0 || user_.store(old_set, before) ? 0 : -EFAULT;
}

Answer Process::sys_rt_sigpending(const Args& args) {
  if (args[1] > set_bytes) {
    return -EINVAL;
  }
  const SignalSet waiting = signals().waiting();
  return user_.may_write(args[0], args[1]) && user_.store(args[0], waiting) ? 0 : -EFAULT;
}

Answer Process::sys_sigaltstack(const Args& args) {
  const auto [next_address, old_address, unused2, unused3, unused4, unused5] = args;
  const bool is_used = signals().alternate_stack.is_used_at(caller_stack_);
  AlternateStack before = signals().alternate_stack;
  before.flags |= is_used ? AlternateStack::in_use : 0;
  if (next_address != 0) {
    AlternateStack next;
    if (!user_.fetch(next_address, next)) {
      return -EFAULT;
    }
    if (is_used) {
      return -EPERM;
    }
    if (next.flags != 0 && next.flags != AlternateStack::in_use &&
        next.flags != AlternateStack::disabled) {
      return -EINVAL;
    }
    if (next.flags == AlternateStack::disabled) {
      next = {};
    } else if (next.bytes < least_alternate_stack) {
      return -ENOMEM;
    }
    next.flags &= AlternateStack::disabled; // whether it is in use, is seen
    signals().alternate_stack = next;
  }
  return old_address == 0 || user_.store(old_address, before) ? 0 : -EFAULT;
}

// ---- sending -----------------------------------------------------------------------------------

SignalCause Process::cause_of(std::uint64_t signal, std::int32_t code) const {
  return {.signal = signal,
          .code = code,
          .address = 0,
          .process = static_cast<std::int32_t>(process_id),
          .user = credentials_.ids(Credentials::Kind::user).real};
}

void Process::send(Thread& thread, const SignalCause& cause) {
  suffer(thread.signals.send(cause), cause.signal);
  scheduler_.wake(thread); // whatever it waits for, it looks whether that is for it
  scheduler_.wake_watchers();
}

void Process::send_to_any(const SignalCause& cause) {
  const auto takes = [&](const auto& thread) { return thread->signals.takes(cause.signal); };
  const SignalEffect effect = actions_.effect_of(cause.signal);
  if (effect != SignalEffect::handler && std::ranges::any_of(scheduler_.threads(), takes)) {
    suffer(effect, cause.signal);
    return;
  }
  shared_pending_.add(cause);
  for (const auto& thread : scheduler_.threads()) {
    if (takes(thread) || (thread->awaited & set_of(cause.signal)) != 0) {
      scheduler_.wake(*thread);
    }
  }
  scheduler_.wake_watchers();
}

// Signal 0 only asks whether there is somebody.
Answer Process::send_to_process(std::int64_t target, const SignalCause& cause) {
  if (cause.signal > last_signal) {
    return -EINVAL;
  }
  if (target != process_id && scheduler_.find(target) == nullptr) {
    return -ESRCH;
  }
  if (cause.signal != 0) {
    send_to_any(cause);
  }
  return 0;
}

Answer Process::send_to_thread(std::int64_t group, std::int64_t thread, const SignalCause& cause) {
  Thread* const target = group == process_id ? scheduler_.find(thread) : nullptr;
  if (cause.signal > last_signal) {
    return -EINVAL;
  }
  if (target == nullptr) {
    return -ESRCH;
  }
  if (cause.signal != 0) {
    send(*target, cause);
  }
  return 0;
}

void Process::receive_signals() {
  for (SignalSet signals = machine_.take_signals(); signals != 0; signals &= signals - 1) {
    const auto signal = static_cast<std::uint64_t>(std::countr_zero(signals)) + 1;
    send_to_any({.signal = signal, .code = SI_KERNEL});
  }
  if (!timers_.any_set()) {
    return;
  }
  const Timers::Now is = now();
  if (timers_.next_while_computing_ns(is) > is.elapsed_ns) {
    return;
  }
  SignalSet waiting = shared_pending_.waiting();
  for (const auto& thread : scheduler_.threads()) {
    waiting |= thread->signals.own().waiting(); // a timer may be for one alone
  }
  for (auto cause = timers_.take(is, waiting); cause; cause = timers_.take(is, waiting)) {
    waiting |= set_of(cause->signal);
    if (cause->thread == 0) {
      send_to_any(*cause);
    } else if (Thread* const thread = scheduler_.find(cause->thread); thread != nullptr) {
      send(*thread, *cause);
    }
  }
}

Answer Process::sys_kill(const Args& args) {
  const auto target = static_cast<std::int32_t>(args[0]);
  // Its group, and all processes but init, are the process, too.
  const bool is_all = target == 0 || target == -1 || target == -process_id;
  return send_to_process(is_all ? process_id : target, cause_of(args[1], SI_USER));
}

Answer Process::sys_tkill(const Args& args) {
  const auto target = static_cast<std::int32_t>(args[0]);
  return target <= 0 ? -EINVAL : send_to_thread(process_id, target, cause_of(args[1], SI_TKILL));
}

Answer Process::sys_tgkill(const Args& args) {
  const auto group = static_cast<std::int32_t>(args[0]);
  const auto target = static_cast<std::int32_t>(args[1]);
  return group <= 0 || target <= 0 ? -EINVAL
                                   : send_to_thread(group, target, cause_of(args[2], SI_TKILL));
}

// What a program says of itself; that the kernel or kill has sent it, it may only tell itself.
Or<SignalCause> Process::cause_at(std::uint64_t signal, std::uint64_t address,
                                  const PendingSignals& room) const {
  SignalInformation information{};
  if (!user_.fetch(address, information)) {
    return std::unexpected(EFAULT);
  }
  if (signal >= first_queued_signal && signal <= last_signal && !room.has_room()) {
    return std::unexpected(EAGAIN);
  }
  return SignalCause{.signal = signal,
                     .code = information.code,
                     .address = information.address,
                     .process = information.sender.process,
                     .user = information.sender.user,
                     .value = information.value};
}

Answer Process::sys_rt_sigqueueinfo(const Args& args) {
  const Or<SignalCause> cause = cause_at(args[1], args[2], shared_pending_);
  return cause ? send_to_process(static_cast<std::int32_t>(args[0]), *cause)
               : -Answer{cause.error()};
}

Answer Process::sys_rt_tgsigqueueinfo(const Args& args) {
  const auto group = static_cast<std::int32_t>(args[0]);
  const auto target = static_cast<std::int32_t>(args[1]);
  if (group <= 0 || target <= 0) {
    return -EINVAL;
  }
  const Thread* const thread = group == process_id ? scheduler_.find(target) : nullptr;
  if (thread == nullptr) {
    return -ESRCH;
  }
  const Or<SignalCause> cause = cause_at(args[2], args[3], thread->signals.own());
  return cause ? send_to_thread(group, target, *cause) : -Answer{cause.error()};
}

Answer Process::sys_rt_sigtimedwait(const Args& args) {
  SignalSet wanted = 0;
  if (args[3] != set_bytes) {
    return -EINVAL;
  }
  if (!user_.fetch(args[0], wanted)) {
    return -EFAULT;
  }
  const Or<std::uint64_t> timeout = timeout_at(args[2]);
  if (!timeout) {
    return -Answer{timeout.error()};
  }
  const std::uint64_t until =
      *timeout == wait_for_ever ? Machine::never : machine_.now_ns() + *timeout;
  // They wait meanwhile, whatever is done with them otherwise.
  Thread& thread = scheduler_.running();
  const SignalSet blocked = thread.signals.blocked();
  for (;;) {
    if (auto cause = signals().accept(wanted)) {
      count_overruns(*cause);
      const bool told = args[1] == 0 || user_.store(args[1], information_of(*cause));
      return told ? static_cast<Answer>(cause->signal) : -EFAULT;
    }
    if (is_diverted()) {
      return -EINTR;
    }
    if (until != Machine::never && machine_.now_ns() >= until) {
      return -EAGAIN;
    }
    thread.awaited = wanted;
    thread.signals.set_blocked(blocked | wanted);
    machine_.set_handled_signals(handled_signals());
    rest_until(until);
    thread.signals.set_blocked(blocked);
    thread.awaited = 0;
    machine_.set_handled_signals(handled_signals());
  }
}

// Waits for a signal that has a handler.
Answer Process::sys_pause(const Args& /*args*/) {
  while (!is_diverted()) {
    rest_until(Machine::never);
  }
  return -EINTR;
}

int Process::suspend_signals(std::uint64_t address, std::uint64_t bytes) {
  SignalSet blocked = 0;
  if (address == 0) {
    return 0;
  }
  if (bytes != set_bytes) {
    return EINVAL;
  }
  if (!user_.fetch(address, blocked)) {
    return EFAULT;
  }
  signals().suspend(blocked);
  machine_.set_handled_signals(handled_signals());
  return 0;
}

// With a signal to handle, what was blocked before comes back with the handler's return.
void Process::end_suspension() {
  if (!is_diverted()) {
    signals().end_suspend();
    machine_.set_handled_signals(handled_signals());
  }
}

Answer Process::sys_rt_sigsuspend(const Args& args) {
  if (args[0] == 0) {
    return -EFAULT;
  }
  const int error = suspend_signals(args[0], args[1]);
  return error != 0 ? -Answer{error} : sys_pause(args);
}

// ---- handlers ----------------------------------------------------------------------------------

// All registers are replaced: by go_on(), which has them.
Answer Process::sys_rt_sigreturn(const Args& /*args*/) {
  scheduler_.running().handler_returns = true;
  return 0;
}

void Process::go_on(Registers& registers, const ExtendedState& state) {
  Thread& thread = scheduler_.running();
  if (thread.is_to_end) {
    end_thread();
  }
  if (follower_) {
    registers = {.rip = follower_->instruction,
                 .cs = registers.cs,
                 .flags = initial_flags,
                 .rsp = follower_->stack,
                 .ss = registers.ss};
    clear_state(state);
    follower_.reset();
  }
  if (thread.handler_returns) {
    thread.handler_returns = false;
    if (!pop_handler(registers, state)) {
      end_by_signal(SIGSEGV);
    }
  }
  while (auto taken = signals().take()) {
    count_overruns(taken->cause);
    suffer(taken->effect, taken->cause.signal);
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

void Process::count_overruns(SignalCause& cause) {
  if (cause.code == SI_TIMER) {
    cause.overruns = timers_.deliver(cause.timer + Timers::interval_timers);
  }
}

void Process::call_again(Registers& registers, std::uint64_t number) const {
  registers.rip = sites_.call_before(registers.rip);
  registers.rax = number;
}

void Process::push_handler(Registers& registers, const ExtendedState& state,
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
    end_by_signal(SIGSEGV);
  }
  static_cast<void>(user_.store(place.frame, make_frame(registers, taken, stack, place)));
  const std::span copy(reinterpret_cast<std::byte*>(place.extended_state), state_bytes); // NOLINT
  std::ranges::copy(state.bytes, copy.begin());
  mark_state(copy, state);
  enter_handler(registers, taken, place);
  clear_state(state);
}

// What a handler leaves of it in its frame, if that is one and it is not in use.
void Process::restore_alternate_stack(AlternateStack stack, std::uint64_t stack_pointer) {
  if (signals().alternate_stack.is_used_at(stack_pointer)) {
    return;
  }
  if ((stack.flags & AlternateStack::disabled) != 0) {
    signals().alternate_stack = {};
  } else if ((stack.flags & ~AlternateStack::in_use) == 0 && stack.bytes >= least_alternate_stack) {
    stack.flags = 0;
    signals().alternate_stack = stack;
  }
}

// As Linux tells a stack that overflows: what is kept free below it is nobody's mapping.
bool Process::take_fault(SignalCause cause) {
  if (cause.signal == SIGSEGV && cause.code == SEGV_ACCERR &&
      loader_.is_below_stack(cause.address)) {
    cause.code = SEGV_MAPERR;
  }
  return signals().fault(cause) == SignalEffect::handler;
}

bool Process::pop_handler(Registers& registers, const ExtendedState& state) {
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

} // namespace guest::linux
