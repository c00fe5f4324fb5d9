// SPDX-License-Identifier: MIT
#include "guest/linux/signals/pending_signals.hpp"

#include <algorithm>
#include <cassert>

namespace guest::linux {

void PendingSignals::add(const SignalCause& cause) {
  ++arrivals_;
  const bool is_first = (waiting_ & set_of(cause.signal)) == 0;
  if (is_first || (cause.signal >= first_queued_signal && has_room())) {
    waiting_ |= set_of(cause.signal);
    causes_.push_back(cause);
  }
}

SignalCause PendingSignals::take(std::uint64_t signal) {
  const auto found = std::ranges::find(causes_, signal, &SignalCause::signal);
  assert(found != causes_.end());
  const SignalCause cause = *found;
  causes_.erase(found);
  if (std::ranges::find(causes_, signal, &SignalCause::signal) == causes_.end()) {
    waiting_ &= ~set_of(signal);
  }
  return cause;
}

void PendingSignals::forget(std::uint64_t signal) {
  waiting_ &= ~set_of(signal);
  std::erase_if(causes_, [signal](const SignalCause& cause) { return cause.signal == signal; });
}

} // namespace guest::linux
