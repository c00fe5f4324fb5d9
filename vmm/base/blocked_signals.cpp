// SPDX-License-Identifier: MIT
#include "vmm/base/blocked_signals.hpp"

#include <sys/signalfd.h>

namespace vmm {

Result<BlockedSignals> BlockedSignals::create() {
  sigset_t set{};
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, toggle);
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return system_error("signalfd");
  }
  sigset_t previous{};
  ::pthread_sigmask(SIG_BLOCK, &set, &previous);
  return BlockedSignals(std::move(fd), previous);
}

BlockedSignals::~BlockedSignals() {
  if (fd_.valid()) { // not moved from
    ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  }
}

void BlockedSignals::unblock_ending() {
  sigset_t set{};
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

int BlockedSignals::take() const {
  signalfd_siginfo info{};
  return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo)
                                                              : 0;
}

} // namespace vmm
