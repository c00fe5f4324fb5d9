// SPDX-License-Identifier: MIT
#include "guest/linux/events/signal_file.hpp"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace guest::linux {

namespace {

signalfd_siginfo information_to_read(const SignalCause& cause) {
  signalfd_siginfo is{};
  is.ssi_signo = static_cast<std::uint32_t>(cause.signal);
  is.ssi_code = cause.code;
  if (cause.code == SI_TIMER) {
    is.ssi_tid = static_cast<std::uint32_t>(cause.timer);
    is.ssi_overrun = static_cast<std::uint32_t>(cause.overruns);
  } else if (cause.code > 0 && cause.code != SI_KERNEL) {
    is.ssi_addr = cause.address;
  } else {
    is.ssi_pid = static_cast<std::uint32_t>(cause.process);
    is.ssi_uid = cause.user;
  }
  if (cause.code < 0) {
    is.ssi_ptr = cause.value;
    is.ssi_int = static_cast<std::int32_t>(cause.value);
  }
  return is;
}

} // namespace

Or<std::uint64_t> SignalFile::read(std::uint64_t /*offset*/, std::span<std::byte> to) {
  constexpr std::uint64_t one_bytes = sizeof(signalfd_siginfo);
  if (to.size() < one_bytes) {
    return std::unexpected(EINVAL);
  }
  std::uint64_t done = 0;
  while (to.size() - done >= one_bytes) {
    const auto cause = signals_.accept_signal(wanted_);
    if (!cause) {
      break;
    }
    const signalfd_siginfo is = information_to_read(*cause);
    std::memcpy(to.data() + done, &is, one_bytes);
    done += one_bytes;
  }
  return done != 0 ? Or<std::uint64_t>(done) : std::unexpected(EAGAIN);
}

Or<Readiness> SignalFile::ready_for(Readiness wanted) {
  return (signals_.waiting_signals() & wanted_) != 0 ? abi::file_readable & wanted : 0;
}

} // namespace guest::linux
