// SPDX-License-Identifier: MIT
#include "guest/linux/signals/signals.hpp"

#include <algorithm>
#include <bit>
#include <csignal>

namespace guest::linux {

namespace {

constexpr SignalSet unblockable = set_of(SIGKILL) | set_of(SIGSTOP);
// Do nothing unless the program catches them.
constexpr SignalSet ignored_by_default =
    set_of(SIGCHLD) | set_of(SIGURG) | set_of(SIGWINCH) | set_of(SIGCONT);
constexpr SignalSet stops_by_default =
    set_of(SIGSTOP) | set_of(SIGTSTP) | set_of(SIGTTIN) | set_of(SIGTTOU);

} // namespace

Signals::Effect Signals::effect_of(std::uint64_t signal) const {
  switch (actions_[signal].handler) {
  case SignalAction::ignore:
    return Effect::nothing;
  case SignalAction::default_handler:
    return (ignored_by_default & set_of(signal)) != 0 ? Effect::nothing
           : (stops_by_default & set_of(signal)) != 0 ? Effect::stop
                                                      : Effect::end;
  default:
    return Effect::handler;
  }
}

void Signals::set_action(std::uint64_t signal, const SignalAction& action) {
  actions_[signal] = action;
  handlers_ &= ~set_of(signal);
  handlers_ |= effect_of(signal) == Effect::handler ? set_of(signal) : 0;
  if (effect_of(signal) == Effect::nothing) {
    waiting_ &= ~set_of(signal);
    std::erase_if(queued_, [signal](const SignalCause& cause) { return cause.signal == signal; });
  }
}

void Signals::forget_handlers() {
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    set_action(signal, {.handler = actions_[signal].handler == SignalAction::ignore
                                       ? SignalAction::ignore
                                       : SignalAction::default_handler});
  }
  alternate_stack = {};
}

void Signals::set_blocked(SignalSet blocked) {
  blocked_ = blocked & ~unblockable;
}

SignalSet Signals::survived() const {
  SignalSet survived = blocked_;
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    const Effect effect = effect_of(signal);
    survived |= effect == Effect::nothing || effect == Effect::handler ? set_of(signal) : 0;
  }
  return survived;
}

Signals::Effect Signals::send(const SignalCause& cause) {
  const SignalSet bit = set_of(cause.signal);
  const Effect effect = effect_of(cause.signal);
  const bool is_blocked = (blocked_ & bit) != 0;
  if (effect != Effect::handler && !is_blocked) {
    return effect;
  }
  ++arrivals_;
  if ((waiting_ & bit) == 0) {
    waiting_ |= bit;
    causes_[cause.signal] = cause;
  } else if (cause.signal >= first_queued_signal && has_room()) {
    queued_.push_back(cause);
  }
  return is_blocked ? Effect::nothing : Effect::handler;
}

Signals::Effect Signals::fault(const SignalCause& cause) {
  const SignalSet bit = set_of(cause.signal);
  if ((blocked_ & bit) != 0 || effect_of(cause.signal) != Effect::handler) {
    return Effect::end;
  }
  waiting_ |= bit;
  causes_[cause.signal] = cause;
  return Effect::handler;
}

std::optional<Signals::Taken> Signals::take() {
  const SignalSet due = waiting_ & ~blocked_;
  if (due == 0) {
    return std::nullopt;
  }
  // What faults comes first: its cause is the instruction at hand.
  constexpr SignalSet faults = set_of(SIGSEGV) | set_of(SIGBUS) | set_of(SIGILL) | set_of(SIGTRAP) |
                               set_of(SIGFPE) | set_of(SIGSYS);
  const SignalSet first = (due & faults) != 0 ? due & faults : due;
  const auto signal = static_cast<std::uint64_t>(std::countr_zero(first)) + 1;
  Taken taken{.cause = remove(signal),
              .action = actions_[signal],
              .blocked_before = before_suspend_.value_or(blocked_),
              .effect = effect_of(signal)};
  if (taken.effect == Effect::handler) {
    before_suspend_.reset();
    set_blocked(blocked_ | taken.action.mask |
                ((taken.action.flags & SA_NODEFER) != 0 ? 0 : set_of(signal)));
    if ((taken.action.flags & SA_RESETHAND) != 0) {
      actions_[signal].handler = SignalAction::default_handler;
    }
  }
  return taken;
}

std::optional<SignalCause> Signals::accept(SignalSet wanted) {
  const SignalSet due = waiting_ & wanted;
  if (due == 0) {
    return std::nullopt;
  }
  return remove(static_cast<std::uint64_t>(std::countr_zero(due)) + 1);
}

SignalCause Signals::remove(std::uint64_t signal) {
  const SignalCause cause = causes_[signal];
  const auto next = std::ranges::find(queued_, signal, &SignalCause::signal);
  if (next == queued_.end()) {
    waiting_ &= ~set_of(signal);
  } else {
    causes_[signal] = *next;
    queued_.erase(next);
  }
  return cause;
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
