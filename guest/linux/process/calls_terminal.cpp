// SPDX-License-Identifier: MIT
// What programs ask of a terminal: of the host's own, in a session that has one process.
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>

#include "guest/linux/files/terminal.hpp"
#include "guest/linux/process/file_calls.hpp"

namespace guest::linux {

namespace {

// As in asm-generic/ioctls.h and termbits.h, of which the C library has no names: the same with
// speeds behind it.
struct TerminalModeWithSpeeds {
  abi::TerminalMode mode;
  std::uint32_t input_speed = 38400;
  std::uint32_t output_speed = 38400;
};
constexpr std::uint64_t get_with_speeds = 0x802c542a; // TCGETS2
constexpr std::uint64_t set_with_speeds = 0x402c542b; // TCSETS2, TCSETSW2, TCSETSF2
constexpr std::uint64_t set_with_speeds_last = set_with_speeds + 2;

} // namespace

std::uint64_t FileCalls::patience_ns(const OpenFile& file) {
  constexpr std::uint64_t ns_per_tenth = 100'000'000; // of a second
  Terminal* const terminal = file.file->terminal();
  const Or<abi::TerminalMode> mode =
      terminal == nullptr ? Or<abi::TerminalMode>(std::unexpected(ENOTTY)) : terminal->mode();
  if (!mode || (mode->local & ICANON) != 0 || mode->characters[VMIN] != 0) {
    return wait_for_ever;
  }
  return mode->characters[VTIME] * ns_per_tenth;
}

// Output is with the host's terminal at once, so nothing is waited for before a change.
Answer FileCalls::control_terminal(Terminal& terminal, std::uint64_t request,
                                   std::uint64_t address) {
  const auto give = [&](const auto& what) { return user_.store(address, what) ? 0 : -EFAULT; };
  switch (request) {
  case TCGETS:
  case get_with_speeds: {
    const Or<abi::TerminalMode> mode = terminal.mode();
    return !mode               ? -Answer{mode.error()}
           : request == TCGETS ? give(*mode)
                               : give(TerminalModeWithSpeeds{.mode = *mode});
  }
  case TCSETS:
  case TCSETSW:
  case TCSETSF:
  case set_with_speeds:
  case set_with_speeds + 1:
  case set_with_speeds_last: {
    abi::TerminalMode mode;
    if (!user_.fetch(address, mode)) {
      return -EFAULT;
    }
    const bool discards = request == TCSETSF || request == set_with_speeds_last;
    const int error = discards ? terminal.flush(TCIFLUSH) : 0;
    return -Answer{error != 0 ? error : terminal.set_mode(mode)};
  }
  case TIOCGWINSZ: {
    const Or<abi::TerminalSize> size = terminal.size();
    return size ? give(winsize{size->rows, size->columns, 0, 0}) : -Answer{size.error()};
  }
  case TIOCSWINSZ:
    return -EPERM; // it is the user's
  case TCFLSH:
    return address > TCIOFLUSH ? -EINVAL
                               : -Answer{terminal.flush(static_cast<std::uint32_t>(address))};
  case TCSBRK:
  case TCSBRKP:
    return 0;
  case TIOCOUTQ:
  case TIOCGETD:
    return give(std::int32_t{0});
  case TIOCGPGRP:
    return give(foreground_);
  case TIOCGSID:
    return give(first().session);
  case TIOCSPGRP: {
    std::int32_t group = 0;
    if (!user_.fetch(address, group)) {
      return -EFAULT;
    }
    if (group < 0) {
      return -EINVAL;
    }
    const bool is_there = std::ranges::any_of(processes_, [&](const auto& process) {
      return process->group == group && process->session == self().session;
    });
    foreground_ = is_there ? group : foreground_;
    return is_there ? 0 : -ESRCH;
  }
  case TIOCSCTTY:
    return 0; // it is, already
  default:
    return -ENOTTY;
  }
}

} // namespace guest::linux
