// SPDX-License-Identifier: MIT
#include "guest/linux/signals/signal_actions.hpp"

#include <csignal>

namespace guest::linux {

namespace {

// Do nothing unless the program catches them.
constexpr SignalSet ignored_by_default =
    set_of(SIGCHLD) | set_of(SIGURG) | set_of(SIGWINCH) | set_of(SIGCONT);

} // namespace

SignalEffect SignalActions::effect_of(std::uint64_t signal) const {
  switch (actions_[signal].handler) {
  case SignalAction::ignore:
    return SignalEffect::nothing;
  case SignalAction::default_handler:
    return (ignored_by_default & set_of(signal)) != 0 ? SignalEffect::nothing
           : (stop_signals & set_of(signal)) != 0     ? SignalEffect::stop
                                                      : SignalEffect::end;
  default:
    return SignalEffect::handler;
  }
}

void SignalActions::set(std::uint64_t signal, const SignalAction& action) {
  actions_[signal] = action;
  handlers_ &= ~set_of(signal);
  handlers_ |= effect_of(signal) == SignalEffect::handler ? set_of(signal) : 0;
}

void SignalActions::forget_handlers() {
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    set(signal, {.handler = actions_[signal].handler == SignalAction::ignore
                                ? SignalAction::ignore
                                : SignalAction::default_handler});
  }
}

SignalSet SignalActions::survived() const {
  SignalSet survived = 0;
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    const SignalEffect effect = effect_of(signal);
    survived |=
        effect == SignalEffect::nothing || effect == SignalEffect::handler ? set_of(signal) : 0;
  }
  return survived;
}

} // namespace guest::linux
