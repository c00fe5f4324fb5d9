// SPDX-License-Identifier: MIT
#include "vmm/io/raw_terminal.hpp"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <span>
#include <string_view>

namespace vmm {
namespace {

constexpr std::string_view own_screen = "\x1b[?1049h";
constexpr std::string_view usual_screen = "\x1b[?1049l";

constexpr std::array noticed_signals{SIGTSTP, SIGCONT, SIGWINCH};
// What a user ends a program by. One that has arrangements of its own for them keeps those.
constexpr std::array ending_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// What signal handlers go by; theirs while there is a RawTerminal.
struct State {
  std::atomic<bool> raw{false};
  std::atomic<bool> stop_wanted{false};
  std::atomic<int> event{-1};
  termios usual{};                                                // of the terminal, whenever raw
  std::array<struct sigaction, noticed_signals.size()> noticed{}; // before there was one
};
State state;

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR && errno != EAGAIN) {
      return; // the terminal is gone
    }
    text.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : 0);
  }
}

void set_raw() {
  termios raw = state.usual;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  state.raw.store(true);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  put(own_screen);
}

// May be called by a signal handler.
void put_back() {
  if (state.raw.exchange(false)) {
    put(usual_screen);
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &state.usual);
  }
}

void on_noticed(int signal) {
  const int saved = errno;
  if (signal == SIGTSTP) {
    state.stop_wanted.store(true);
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(state.event.load(), &one, sizeof one);
  errno = saved;
}

// Once only (SA_RESETHAND): raised again, the signal has its usual effect.
void on_ending(int signal) {
  put_back();
  static_cast<void>(::raise(signal));
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

bool has_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == handler;
}

void replace(std::span<const int> signals, void (*from)(int), void (*to)(int), int flags) {
  for (const int signal : signals) {
    if (has_handler(signal, from)) {
      handle(signal, to, flags);
    }
  }
}

} // namespace

RawTerminal::RawTerminal(int event_fd) : event_fd_(event_fd) {
  state.event.store(event_fd_);
  state.stop_wanted.store(false);
  ::tcgetattr(STDIN_FILENO, &state.usual);
  // Only what nobody else has arrangements for: whoever starts us without job control has us ignore
  // SIGTSTP.
  replace(noticed_signals, SIG_DFL, on_noticed, SA_RESTART);
  replace(ending_signals, SIG_DFL, on_ending, static_cast<int>(SA_RESETHAND | SA_NODEFER));
  set_raw();
}

RawTerminal::~RawTerminal() {
  put_back();
  replace(ending_signals, on_ending, SIG_DFL, 0);
  replace(noticed_signals, on_noticed, SIG_DFL, 0);
  state.event.store(-1);
}

RawTerminal::Size RawTerminal::size() {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) {
    return {};
  }
  return {.columns = window.ws_col, .rows = window.ws_row};
}

void RawTerminal::take_event() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_fd_, &count, sizeof count);
  if (state.stop_wanted.exchange(false)) {
    put_back();
    handle(SIGTSTP, SIG_DFL, 0);
    static_cast<void>(::raise(SIGTSTP)); // returns when the process was continued
    handle(SIGTSTP, on_noticed, SA_RESTART);
    ::tcgetattr(STDIN_FILENO, &state.usual); // may have been changed meanwhile
  }
  // After a SIGSTOP, which nobody can see come, the shell has put back what it thinks is usual.
  set_raw();
}

} // namespace vmm
