// SPDX-License-Identifier: MIT
// Signals that are read instead of handled: signalfd(2). Pure.
#pragma once

#include <cstdint>

#include "guest/linux/events/nameless_file.hpp"
#include "guest/linux/signals/waiting_signals.hpp"

namespace guest::linux {

class SignalFile final : public NamelessFile {
 public:
  // `signals` outlives this.
  SignalFile(WaitingSignals& signals, SignalSet wanted) : signals_(signals), wanted_(wanted) {}

  void want(SignalSet wanted) { wanted_ = wanted; }

  // As many struct signalfd_siginfo as there are signals and room; EINVAL without room for one.
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness /*wanted*/) override {
    return signals_.signal_arrivals();
  }
  // The user may send one.
  [[nodiscard]] bool may_become_ready() const override { return true; }
  [[nodiscard]] SignalFile* signals() override { return this; }

 private:
  WaitingSignals& signals_;
  SignalSet wanted_;
};

} // namespace guest::linux
