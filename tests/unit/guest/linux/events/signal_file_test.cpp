// SPDX-License-Identifier: MIT
#include "guest/linux/events/signal_file.hpp"

#include <sys/signalfd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

class OwnSignals final : public WaitingSignals {
 public:
  [[nodiscard]] SignalSet waiting_signals() const override { return signals.waiting(); }
  [[nodiscard]] std::optional<SignalCause> accept_signal(SignalSet wanted) override {
    return signals.accept(wanted);
  }
  [[nodiscard]] std::uint64_t signal_arrivals() const override { return signals.arrivals(); }

  SignalActions actions;
  PendingSignals shared;
  Signals signals{actions, shared};
};

using Information = std::array<signalfd_siginfo, 3>;
Or<std::uint64_t> read(SignalFile& file, Information& to, std::size_t bytes = sizeof(Information)) {
  return file.read(0, std::as_writable_bytes(std::span(to)).first(bytes));
}

} // namespace

TEST_CASE("signal file: what waits and is wanted is read, as often as it waits") {
  constexpr std::uint64_t queued = 40;
  OwnSignals own;
  own.signals.set_blocked(~SignalSet{0});
  SignalFile file(own, set_of(SIGUSR1) | set_of(queued));
  Information got{};
  CHECK(read(file, got).error() == EAGAIN);
  CHECK(read(file, got, sizeof got[0] - 1).error() == EINVAL);
  CHECK(own.signals.send({.signal = SIGUSR2}) == SignalEffect::nothing);
  CHECK(file.ready_for(abi::file_readable) == Readiness{0});
  for (std::uint64_t value = 1; value <= 3; ++value) {
    static_cast<void>(own.signals.send({.signal = queued, .code = SI_QUEUE, .value = value}));
  }
  static_cast<void>(own.signals.send({.signal = SIGUSR1, .code = SI_USER, .process = 7}));
  CHECK(file.ready_for(abi::file_readable) == abi::file_readable);
  CHECK(file.arrivals(abi::file_readable) == 5);
  REQUIRE(read(file, got, sizeof got[0] * 2 + 5) == sizeof got[0] * 2);
  CHECK(got[0].ssi_signo == SIGUSR1);
  CHECK(got[0].ssi_pid == 7);
  CHECK(got[1].ssi_signo == queued);
  CHECK(got[1].ssi_int == 1);
  REQUIRE(read(file, got) == sizeof got[0] * 2);
  CHECK(got[1].ssi_int == 3);
  CHECK(read(file, got).error() == EAGAIN);
  file.want(set_of(SIGUSR2));
  CHECK(read(file, got) == sizeof got[0]);
}
