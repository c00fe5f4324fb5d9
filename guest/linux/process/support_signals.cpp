// SPDX-License-Identifier: MIT
// How signals come to the program and its threads, and what calls that wait do with them.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>

#include "guest/linux/process/call_support.hpp"

namespace guest::linux {

SignalSet CallSupport::handled_signals() const {
  if (ends_in_order_) {
    return ~SignalSet{0};
  }
  SignalSet blocked = ~SignalSet{0}; // by all
  for (const auto& thread : scheduler_.threads()) {
    blocked &= thread->signals.blocked();
  }
  return actions_.survived() | blocked;
}

// ---- sending -----------------------------------------------------------------------------------

SignalCause CallSupport::cause_of(std::uint64_t signal, std::int32_t code) const {
  return {.signal = signal,
          .code = code,
          .address = 0,
          .process = static_cast<std::int32_t>(process_id),
          .user = credentials_.ids(Credentials::Kind::user).real};
}

void CallSupport::send(Thread& thread, const SignalCause& cause) {
  suffer(thread.signals.send(cause), cause.signal);
  scheduler_.wake(thread); // whatever it waits for, it looks whether that is for it
  scheduler_.wake_watchers();
}

void CallSupport::send_to_any(const SignalCause& cause) {
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

void CallSupport::receive_signals() {
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

void CallSupport::suffer(SignalEffect effect, std::uint64_t signal) {
  if (effect == SignalEffect::end) {
    end_by_signal(signal);
  }
  if (effect == SignalEffect::stop) {
    stop();
  }
}

// By the host, which may have reasons not to.
void CallSupport::stop() {
  static_cast<void>(files_.perform({.operation = abi::FileOperation::stop}));
}

// ---- waiting -----------------------------------------------------------------------------------

int CallSupport::suspend_signals(std::uint64_t address, std::uint64_t bytes) {
  SignalSet blocked = 0;
  if (address == 0) {
    return 0;
  }
  if (bytes != sizeof blocked) {
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
void CallSupport::end_suspension() {
  if (!is_diverted()) {
    signals().end_suspend();
    machine_.set_handled_signals(handled_signals());
  }
}

std::optional<SignalCause> CallSupport::accept_signal(SignalSet wanted) {
  auto cause = signals().accept(wanted);
  if (cause) {
    count_overruns(*cause);
  }
  return cause;
}

void CallSupport::count_overruns(SignalCause& cause) {
  if (cause.code == SI_TIMER) {
    cause.overruns = timers_.deliver(cause.timer + Timers::interval_timers);
  }
}

} // namespace guest::linux
