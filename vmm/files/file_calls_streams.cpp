// SPDX-License-Identifier: MIT
// File calls on streams: the vmm's own input, output and errors, whatever they are.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "vmm/calls/call_result.hpp"
#include "vmm/files/file_calls.hpp"
#include "vmm/files/file_status.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;

short poll_events(const abi::FileCall& call) {
  return static_cast<short>((has(call, abi::file_readable) ? unsigned{POLLIN} : 0U) |
                            (has(call, abi::file_writable) ? unsigned{POLLOUT} : 0U));
}

} // namespace

FileCalls::Waiting FileCalls::stream_waiting(const abi::FileCall& call) {
  return has(call, abi::file_no_wait) ? Waiting::no : Waiting::yes;
}

// 0 once it is ready; EINTR when the guest ends first, EAGAIN if that is not to be waited for.
abi::FileResult FileCalls::wait_for(int fd, short events, Waiting waiting) const {
  std::array<pollfd, 2> waits{pollfd{fd, events, 0}, pollfd{stop_fd_, POLLIN, 0}};
  while (::poll(waits.data(), waits.size(), waiting == Waiting::yes ? -1 : 0) < 0 &&
         errno == EINTR) {
  }
  if ((waits[1].revents & POLLIN) != 0) {
    return -EINTR;
  }
  return waits[0].revents != 0 ? 0 : -EAGAIN;
}

abi::FileResult FileCalls::read_stream(int fd, std::span<std::byte> buffer, Waiting waiting) const {
  if (buffer.empty()) {
    return 0;
  }
  for (;;) {
    if (const abi::FileResult not_ready = wait_for(fd, POLLIN, waiting); not_ready != 0) {
      return not_ready;
    }
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got >= 0 || waiting == Waiting::no || (errno != EAGAIN && errno != EINTR)) {
      return got >= 0 ? got : failed();
    }
  }
}

// Whatever the reader takes at a time: the guest asks again.
abi::FileResult FileCalls::write_stream(int fd, std::span<const std::byte> buffer,
                                        Waiting waiting) const {
  for (;;) {
    if (const abi::FileResult not_ready = wait_for(fd, POLLOUT, waiting); not_ready != 0) {
      return not_ready;
    }
    const ssize_t put = ::write(fd, buffer.data(), buffer.size());
    if (put >= 0 || waiting == Waiting::no || (errno != EAGAIN && errno != EINTR)) {
      return put >= 0 ? put : failed();
    }
  }
}

abi::FileResult FileCalls::wait(const abi::FileCall& call) const {
  if (call.file >= streams) {
    return -EBADF;
  }
  std::array<pollfd, 2> waits{pollfd{static_cast<int>(call.file), poll_events(call), 0},
                              pollfd{stop_fd_, POLLIN, 0}};
  const std::uint64_t ms = call.offset / ns_per_ms + (call.offset % ns_per_ms != 0 ? 1 : 0);
  const int timeout = ms > INT_MAX ? -1 : static_cast<int>(ms);
  if (::poll(waits.data(), waits.size(), timeout) < 0) {
    return failed();
  }
  if ((waits[1].revents & POLLIN) != 0) {
    return -EINTR;
  }
  const unsigned is = static_cast<unsigned>(waits[0].revents);
  return ((is & POLLIN) != 0 ? abi::file_readable : 0U) |
         ((is & POLLOUT) != 0 ? abi::file_writable : 0U) |
         ((is & (POLLHUP | POLLERR)) != 0 ? abi::file_hung_up : 0U);
}

abi::FileResult FileCalls::watch(const abi::FileCall& call) const {
  if (call.file >= streams) {
    return -EBADF;
  }
  if (!wishes_.watch) {
    return -ENOSYS;
  }
  wishes_.watch(call.file, poll_events(call));
  return 0;
}

abi::FileResult FileCalls::seek(const abi::FileCall& call) {
  if (call.file >= streams) {
    return -EBADF;
  }
  if (call.mode > SEEK_END) {
    return -EINVAL;
  }
  const off_t at = ::lseek(static_cast<int>(call.file), static_cast<off_t>(call.offset),
                           static_cast<int>(call.mode));
  return at >= 0 ? at : failed();
}

abi::FileResult FileCalls::readable_bytes(const abi::FileCall& call) {
  int bytes = 0;
  if (call.file >= streams || ::ioctl(static_cast<int>(call.file), FIONREAD, &bytes) != 0) {
    return -ENOTTY;
  }
  return bytes;
}

abi::FileResult FileCalls::stop() const {
  if (!wishes_.stop) {
    return -ENOSYS;
  }
  for (int stream = 0; stream < static_cast<int>(streams); ++stream) {
    if (abi::TerminalMode mode; ::ioctl(stream, TCGETS, &mode) == 0) {
      wishes_.stop();
      return 0;
    }
  }
  return -ENOTTY; // nobody is there who could have it go on
}

// ---- terminals ---------------------------------------------------------------------------------

abi::FileResult FileCalls::terminal(const abi::FileCall& call) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() < sizeof(abi::TerminalSize)) {
    return -EINVAL;
  }
  winsize size{};
  if (call.file >= streams || ::ioctl(static_cast<int>(call.file), TIOCGWINSZ, &size) != 0) {
    return -ENOTTY;
  }
  const abi::TerminalSize answer{size.ws_row, size.ws_col};
  std::memcpy(buffer.data(), &answer, sizeof answer);
  return 0;
}

abi::FileResult FileCalls::terminal_mode(const abi::FileCall& call) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() < sizeof(abi::TerminalMode)) {
    return -EINVAL;
  }
  abi::TerminalMode mode;
  if (call.file >= streams || ::ioctl(static_cast<int>(call.file), TCGETS, &mode) != 0) {
    return -ENOTTY;
  }
  std::memcpy(buffer.data(), &mode, sizeof mode);
  return 0;
}

// What is the line's, not the session's, stays: its speed (0 hangs up), its bits, its discipline.
abi::FileResult FileCalls::set_terminal_mode(const abi::FileCall& call) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() < sizeof(abi::TerminalMode)) {
    return -EINVAL;
  }
  abi::TerminalMode mode;
  abi::TerminalMode wanted;
  std::memcpy(&wanted, buffer.data(), sizeof wanted);
  const int fd = static_cast<int>(call.file);
  if (call.file >= streams || ::ioctl(fd, TCGETS, &mode) != 0) {
    return -ENOTTY;
  }
  wanted.control = mode.control;
  wanted.line = mode.line;
  return ::ioctl(fd, TCSETS, &wanted) == 0 ? 0 : failed();
}

abi::FileResult FileCalls::flush_terminal(const abi::FileCall& call) {
  if (call.mode > TCIOFLUSH) {
    return -EINVAL;
  }
  const bool done = call.file < streams && ::ioctl(static_cast<int>(call.file), TCFLSH,
                                                   static_cast<unsigned long>(call.mode)) == 0;
  return done ? 0 : -ENOTTY;
}

} // namespace vmm
