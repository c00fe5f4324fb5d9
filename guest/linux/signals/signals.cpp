// SPDX-License-Identifier: MIT
#include "guest/linux/signals/signals.hpp"

#include <bit>
#include <csignal>

namespace guest::linux {

namespace {

constexpr SignalSet unblockable = set_of(SIGKILL) | set_of(SIGSTOP);

} // namespace

void Signals::set_blocked(SignalSet blocked) {
  blocked_ = blocked & ~unblockable;
}

SignalEffect Signals::send(const SignalCause& cause) {
  const SignalEffect effect = actions_.effect_of(cause.signal);
  if (effect != SignalEffect::handler && takes(cause.signal)) {
    return effect;
  }
  own_.add(cause);
  return takes(cause.signal) ? SignalEffect::handler : SignalEffect::nothing;
}

SignalEffect Signals::fault(const SignalCause& cause) {
  if (!takes(cause.signal) || actions_.effect_of(cause.signal) != SignalEffect::handler) {
    return SignalEffect::end;
  }
  own_.add(cause);
  return SignalEffect::handler;
}

std::optional<Signals::Taken> Signals::take() {
  const SignalSet due = waiting() & ~blocked_;
  if (due == 0) {
    return std::nullopt;
  }
  // What faults comes first: its cause is the instruction at hand.
  constexpr SignalSet faults = set_of(SIGSEGV) | set_of(SIGBUS) | set_of(SIGILL) | set_of(SIGTRAP) |
                               set_of(SIGFPE) | set_of(SIGSYS);
  const SignalSet first = (due & faults) != 0 ? due & faults : due;
  const auto signal = static_cast<std::uint64_t>(std::countr_zero(first)) + 1;
  Taken taken{.cause = remove(signal),
              .action = actions_.of(signal),
              .blocked_before = before_suspend_.value_or(blocked_),
              .effect = actions_.effect_of(signal)};
  if (taken.effect == SignalEffect::handler) {
    before_suspend_.reset();
    set_blocked(blocked_ | taken.action.mask |
                ((taken.action.flags & SA_NODEFER) != 0 ? 0 : set_of(signal)));
    if ((taken.action.flags & SA_RESETHAND) != 0) {
      SignalAction action = taken.action;
      action.handler = SignalAction::default_handler;
      actions_.set(signal, action);
    }
  }
  return taken;
}

std::optional<SignalCause> Signals::accept(SignalSet wanted) {
  const SignalSet due = waiting() & wanted;
  if (due == 0) {
    return std::nullopt;
  }
  return remove(static_cast<std::uint64_t>(std::countr_zero(due)) + 1);
}

SignalCause Signals::remove(std::uint64_t signal) {
  return (own_.waiting() & set_of(signal)) != 0 ? own_.take(signal) : shared_.take(signal);
}

void Signals::end_suspend() {
  if (before_suspend_) {
    blocked_ = *before_suspend_;
    before_suspend_.reset();
  }
}

void Signals::suspend(SignalSet blocked) {
  before_suspend_ = blocked_;
  set_blocked(blocked);
}

} // namespace guest::linux
