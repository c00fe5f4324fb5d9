// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_stream.hpp"

#include <sys/stat.h>

#include <algorithm>

namespace guest::linux {

namespace {

constexpr Readiness known = abi::file_readable | abi::file_writable; // to the host

} // namespace

HostStream::HostStream(FilePort& port, std::uint32_t number)
    : port_(port), number_(number), is_terminal_(HostStream::size().has_value()) {}

Or<std::uint64_t> HostStream::ask(abi::FileCall call) {
  call.file = number_;
  const abi::FileResult result = port_.perform(call);
  if (result < 0) {
    return std::unexpected(static_cast<int>(-result));
  }
  return static_cast<std::uint64_t>(result);
}

int HostStream::change(const abi::FileCall& call) {
  const Or<std::uint64_t> result = ask(call);
  return result ? 0 : result.error();
}

Or<std::uint64_t> HostStream::read(std::uint64_t /*offset*/, std::span<std::byte> to) {
  if (to.empty()) {
    return 0;
  }
  const std::uint64_t asked = std::min<std::uint64_t>(to.size(), abi::file_transfer_bytes);
  Or<std::uint64_t> got = ask({.operation = abi::FileOperation::read,
                               .flags = abi::file_no_wait,
                               .buffer_gpa = address_of(to.data()),
                               .buffer_bytes = asked});
  dry_ += !got || *got < asked ? 1 : 0;
  return got;
}

Or<std::uint64_t> HostStream::write(std::uint64_t /*offset*/, std::span<const std::byte> from) {
  std::uint64_t done = 0;
  while (done < from.size()) {
    const Or<std::uint64_t> put = ask(
        {.operation = abi::FileOperation::write,
         .flags = abi::file_no_wait,
         .buffer_gpa = address_of(from.data() + done),
         .buffer_bytes = std::min(from.size() - done, std::uint64_t{abi::file_transfer_bytes})});
    dry_ += !put || *put < from.size() - done ? 1 : 0;
    if (!put) {
      return done != 0 ? done : put;
    }
    done += *put;
  }
  return done;
}

Or<std::uint64_t> HostStream::seek(std::int64_t offset, std::uint32_t whence) {
  return ask({.operation = abi::FileOperation::seek,
              .mode = whence,
              .offset = static_cast<std::uint64_t>(offset)});
}

Or<abi::FileStat> HostStream::stat() {
  if (is_terminal_) {
    return terminal_stat();
  }
  abi::FileStat is;
  const Or<std::uint64_t> got = ask({.operation = abi::FileOperation::stat,
                                     .buffer_gpa = address_of(&is),
                                     .buffer_bytes = sizeof is});
  if (!got) {
    return std::unexpected(got.error());
  }
  return is;
}

Or<Readiness> HostStream::ready_for(Readiness wanted) {
  const Or<std::uint64_t> is =
      ask({.operation = abi::FileOperation::wait, .flags = wanted & known});
  return is ? Or<Readiness>(static_cast<Readiness>(*is)) : std::unexpected(is.error());
}

int HostStream::watch(Readiness wanted) {
  return change({.operation = abi::FileOperation::watch, .flags = wanted & known});
}

// Nobody has changed it.
Or<std::uint64_t> HostStream::capacity() {
  constexpr std::uint64_t usual_bytes = 65536;
  const Or<abi::FileStat> is = stat();
  return is && S_ISFIFO(is->mode) ? Or<std::uint64_t>(usual_bytes) : std::unexpected(EBADF);
}

bool HostStream::is_pollable() {
  constexpr std::uint64_t null_device = 0x103; // which has nothing to wait for
  const Or<abi::FileStat> is = stat();
  return is_terminal_ || (is && !S_ISREG(is->mode) && !S_ISDIR(is->mode) &&
                          !(S_ISCHR(is->mode) && is->special_device == null_device));
}

Or<std::uint64_t> HostStream::readable_bytes() {
  return ask({.operation = abi::FileOperation::readable_bytes});
}

// ---- as a terminal -----------------------------------------------------------------------------

Or<abi::TerminalMode> HostStream::mode() {
  abi::TerminalMode is;
  const int error = change({.operation = abi::FileOperation::terminal_mode,
                            .buffer_gpa = address_of(&is),
                            .buffer_bytes = sizeof is});
  return error == 0 ? Or<abi::TerminalMode>(is) : std::unexpected(error);
}

int HostStream::set_mode(const abi::TerminalMode& mode) {
  return change({.operation = abi::FileOperation::set_terminal_mode,
                 .buffer_gpa = address_of(&mode),
                 .buffer_bytes = sizeof mode});
}

Or<abi::TerminalSize> HostStream::size() {
  abi::TerminalSize is;
  const int error = change({.operation = abi::FileOperation::terminal,
                            .buffer_gpa = address_of(&is),
                            .buffer_bytes = sizeof is});
  return error == 0 ? Or<abi::TerminalSize>(is) : std::unexpected(error);
}

int HostStream::flush(std::uint32_t queues) {
  return change({.operation = abi::FileOperation::flush_terminal, .mode = queues});
}

} // namespace guest::linux
