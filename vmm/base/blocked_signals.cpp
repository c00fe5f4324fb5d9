// SPDX-License-Identifier: MIT
#include "vmm/base/blocked_signals.hpp"

#include <string.h> // sigabbrev_np
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>

#include "vmm/base/clock.hpp"

namespace vmm {
namespace {

// All whose default is to end a process, but for what a fault of its own raises and for what has
// another meaning here (SIGUSR2, SIGPIPE, SIGXFSZ). SIGTERM is the last that a shell's
// background job ignores.
constexpr std::array named_ending_signals{SIGINT,  SIGQUIT, SIGTERM, SIGHUP, SIGALRM,   SIGVTALRM,
                                          SIGPROF, SIGXCPU, SIGPOLL, SIGPWR, SIGSTKFLT, SIGUSR1};

// With those for real time, of which the C library tells only at run time which are free.
sigset_t ending_signals() {
  sigset_t set{};
  sigemptyset(&set);
  for (const int signal : named_ending_signals) {
    sigaddset(&set, signal);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
    sigaddset(&set, signal);
  }
  return set;
}

template <typename Visit> void for_each_in(const sigset_t& set, Visit visit) {
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (sigismember(&set, signal) == 1) {
      visit(signal);
    }
  }
}

constexpr std::array sent_on_purpose{SIGINT, SIGQUIT, SIGTERM};

constexpr std::uint64_t one_wish_ns = 1'000'000'000;

// A signal handler has nothing else to go by.
std::atomic<int> late_event{-1};
std::atomic<std::uint64_t> first_wish_ns{0}; // 0: none yet

std::atomic<void (*)()> last_deed{nullptr};

// When the first wish for an end was; now if this is it.
std::uint64_t note_wish(std::uint64_t now) {
  std::uint64_t first = 0;
  return first_wish_ns.compare_exchange_strong(first, now) ? now : first;
}

// Only what a handler may do.
void on_late_signal(int signal, siginfo_t* /*info*/, void* /*context*/) {
  const int saved = errno;
  const std::uint64_t now = monotonic_ns();
  if (now - note_wish(now) >= one_wish_ns) {
    if (void (*const last)() = last_deed.load(); last != nullptr) {
      last();
    }
    ::_exit(128 + signal);
  }
  const std::uint64_t one = 1;
  // Never read, so it stays readable.
  [[maybe_unused]] const ssize_t written = ::write(late_event.load(), &one, sizeof one);
  errno = saved;
}

void on_late_signal_sent(int signal, siginfo_t* info, void* context) {
  if (info->si_code != SI_KERNEL) {
    on_late_signal(signal, info, context);
  }
}

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

} // namespace

Result<BlockedSignals> BlockedSignals::create(Terminal terminal) {
  sigset_t set{};
  sigset_t ignored{};
  sigemptyset(&set);
  sigemptyset(&ignored);
  sigaddset(&set, toggle);
  if (terminal != Terminal::left_alone) {
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGCONT);
  }
  if (terminal == Terminal::programs) {
    sigaddset(&set, SIGTSTP);
  }
  for_each_in(ending_signals(), [&](int signal) {
    if (!is_ignored(signal)) {
      sigaddset(&set, signal);
    } else if (std::ranges::find(sent_on_purpose, signal) != sent_on_purpose.end()) {
      sigaddset(&set, signal);
      sigaddset(&ignored, signal);
    }
  });
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  UniqueFd late(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid() || !late.valid()) {
    return system_error("cannot make descriptors for signals");
  }
  sigset_t previous{};
  ::pthread_sigmask(SIG_BLOCK, &set, &previous);
  first_wish_ns.store(0);
  late_event.store(late.get());
  // Here, not in let_through(): the sandbox lets nobody change what a signal does.
  for_each_in(ending_signals(), [&](int signal) {
    if (sigismember(&set, signal) == 1) {
      struct sigaction action {};
      action.sa_sigaction =
          sigismember(&ignored, signal) == 1 ? on_late_signal_sent : on_late_signal;
      action.sa_flags = SA_SIGINFO | SA_RESTART;
      ::sigaction(signal, &action, nullptr);
    }
  });
  return BlockedSignals(std::move(fd), std::move(late), ignored, previous);
}

BlockedSignals::~BlockedSignals() {
  if (fd_.valid()) { // not moved from
    ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
    late_event.store(-1);
  }
}

bool BlockedSignals::is_ending(int signal) {
  const sigset_t set = ending_signals();
  return sigismember(&set, signal) == 1;
}

std::string BlockedSignals::name_of(int signal) {
  if (signal >= SIGRTMIN && signal <= SIGRTMAX) {
    return fmt::format("SIGRTMIN+{}", signal - SIGRTMIN);
  }
  const char* const name = ::sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", name);
}

// By the kernel's own means: it stops nobody whom no shell would let go on.
void BlockedSignals::stop_process() {
  sigset_t set{};
  sigemptyset(&set);
  sigaddset(&set, SIGTSTP);
  sigset_t before{};
  ::pthread_sigmask(SIG_UNBLOCK, &set, &before);
  static_cast<void>(::raise(SIGTSTP));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void BlockedSignals::let_through() {
  const sigset_t set = ending_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void BlockedSignals::before_hurried_end(void (*function)()) {
  last_deed.store(function);
}

int BlockedSignals::take() const {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (sigismember(&ignored_, signal) == 1 && info.ssi_code == SI_KERNEL) {
      continue;
    }
    if (is_ending(signal)) {
      note_wish(monotonic_ns());
    }
    return signal;
  }
  return 0;
}

} // namespace vmm
