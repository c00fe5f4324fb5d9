// SPDX-License-Identifier: MIT
// Signals that wait for who reads them.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/linux/signals/signals.hpp"

namespace guest::linux {

class WaitingSignals {
 public:
  [[nodiscard]] virtual SignalSet waiting_signals() const = 0;
  // The first of `wanted` that waits, blocked or not; it waits no longer.
  [[nodiscard]] virtual std::optional<SignalCause> accept_signal(SignalSet wanted) = 0;
  // How often one has begun to wait, ever.
  [[nodiscard]] virtual std::uint64_t signal_arrivals() const = 0;

 protected:
  WaitingSignals() = default;
  ~WaitingSignals() = default;
};

} // namespace guest::linux
