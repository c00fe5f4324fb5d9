// SPDX-License-Identifier: MIT
#include "vmm/io/terminal_keeper.hpp"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

#include "shared/file_call.hpp"

namespace vmm {
namespace {

constexpr std::array fatal_signals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// What signal handlers go by.
struct Kept {
  std::atomic<int> fd{-1};
  abi::TerminalMode usual;
};
Kept kept;

// Once only (SA_RESETHAND): raised again, the signal has its usual effect.
void on_fatal(int signal) {
  TerminalKeeper::put_back();
  static_cast<void>(::raise(signal));
}

void exchange(void (*from)(int), void (*to)(int), int flags) {
  for (const int signal : fatal_signals) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == from) {
      action = {};
      action.sa_handler = to;
      action.sa_flags = flags;
      ::sigaction(signal, &action, nullptr);
    }
  }
}

} // namespace

TerminalKeeper::TerminalKeeper() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::ioctl(fd, TCGETS, &kept.usual) == 0) {
      kept.fd.store(fd);
      exchange(SIG_DFL, on_fatal, static_cast<int>(SA_RESETHAND | SA_NODEFER));
      return;
    }
  }
}

// The handlers stay: nobody may change them any more, and they do nothing now.
TerminalKeeper::~TerminalKeeper() {
  put_back();
}

void TerminalKeeper::put_back() {
  const int fd = kept.fd.exchange(-1);
  if (fd < 0) {
    return;
  }
  // From the background, too, which would be stopped for it.
  const int saved = errno;
  sigset_t stops{};
  sigset_t before{};
  sigemptyset(&stops);
  sigaddset(&stops, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &stops, &before);
  ::ioctl(fd, TCSETS, &kept.usual);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = saved;
}

} // namespace vmm
