// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/host_socket.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "guest/linux/files/file_port.hpp"

namespace guest::linux {

namespace {

// What each word of ours is in the board's.
constexpr struct {
  Readiness file;
  std::uint32_t board;
} words[] = {{abi::file_readable, abi::socket_readable},
             {abi::file_writable, abi::socket_writable},
             {file_read_hung_up, abi::socket_ended},
             {abi::file_hung_up, abi::socket_hung_up},
             {file_failed, abi::socket_failed}};
constexpr Readiness told_unasked = abi::file_hung_up | file_failed;

} // namespace

// ---- a number of the host's --------------------------------------------------------------------

HostNumber::~HostNumber() {
  static_cast<void>(ask({.operation = abi::SocketOperation::close}));
}

Or<std::uint64_t> HostNumber::ask(abi::SocketCall call) const {
  call.socket = number_;
  const abi::CallResult result = port_.perform(call);
  return result < 0 ? Or<std::uint64_t>(std::unexpected(static_cast<int>(-result)))
                    : static_cast<std::uint64_t>(result);
}

int HostNumber::set_option(abi::SocketOption option, std::int64_t value) const {
  const Or<std::uint64_t> set = ask({.operation = abi::SocketOperation::set_option,
                                     .mode = static_cast<std::uint32_t>(option),
                                     .value = value});
  return set ? 0 : set.error();
}

Readiness HostNumber::ready_for(Readiness wanted) const {
  const std::uint32_t ready = port_.state(number_).ready;
  Readiness is = 0;
  for (const auto& word : words) {
    is |= (ready & word.board) != 0 ? word.file & (wanted | told_unasked) : 0U;
  }
  return is;
}

void HostNumber::watch(Readiness wanted) const {
  std::uint32_t ready = 0;
  for (const auto& word : words) {
    ready |= (word.file & (wanted | told_unasked)) != 0 ? word.board : 0U;
  }
  port_.watch(number_, ready);
}

// ---- a connection ------------------------------------------------------------------------------

HostSocket::HostSocket(const SocketTraits& traits, SocketPort& port, std::uint32_t number,
                       std::uint16_t own_port)
    : Socket(Kind::stream, traits), number_(port, number), own_port_(own_port) {}

void HostSocket::begin() {
  is_under_way_ = true;
  traits().options.visit_changed([this](abi::SocketOption option, std::int64_t value) {
    static_cast<void>(number_.set_option(option, value));
  });
}

Or<std::uint64_t> HostSocket::send(std::span<const std::byte> bytes, Files files, More more) {
  std::uint64_t sent = 0;
  if (!files.empty()) {
    return std::unexpected(EINVAL);
  }
  do {
    const std::span<const std::byte> part =
        bytes.subspan(sent, std::min(bytes.size() - sent, std::size_t{abi::socket_transfer_bytes}));
    const bool is_last = sent + part.size() == bytes.size();
    const Or<std::uint64_t> put =
        number_.ask({.operation = abi::SocketOperation::send,
                     .flags = is_last && more == More::no ? 0U : std::uint32_t{abi::socket_more},
                     .buffer_gpa = address_of(part.data()),
                     .buffer_bytes = part.size()});
    if (!put) {
      return sent != 0 ? Or<std::uint64_t>(sent) : put;
    }
    sent += *put;
    if (*put < part.size()) {
      break;
    }
  } while (sent < bytes.size());
  return sent;
}

Or<Socket::Received> HostSocket::receive(std::span<std::byte> to, Taking taking) {
  const std::uint64_t asked = std::min<std::uint64_t>(to.size(), abi::socket_transfer_bytes);
  const Or<std::uint64_t> got =
      number_.ask({.operation = abi::SocketOperation::receive,
                   .flags = taking == Taking::no ? std::uint32_t{abi::socket_peek} : 0U,
                   .buffer_gpa = address_of(to.data()),
                   .buffer_bytes = asked});
  return got ? Or<Received>(Received{.bytes = *got, .whole_bytes = *got, .files = {}})
             : std::unexpected(got.error());
}

int HostSocket::shut_down(Ends ends) {
  const int how = !ends.writing ? SHUT_RD : ends.reading ? SHUT_RDWR : SHUT_WR;
  const Or<std::uint64_t> done = number_.ask(
      {.operation = abi::SocketOperation::shutdown, .mode = static_cast<std::uint32_t>(how)});
  return done ? 0 : done.error();
}

int HostSocket::connect_again() {
  if (!is_under_way_) {
    return EISCONN;
  }
  const Readiness is = number_.ready_for(abi::file_writable);
  is_under_way_ = is == 0;
  if (is_under_way_) {
    return EALREADY;
  }
  if ((is & told_unasked) == 0) {
    return 0;
  }
  const int error = take_error();
  return error != 0 ? error : ECONNABORTED;
}

int HostSocket::take_error() {
  const Or<std::uint64_t> error = number_.ask({.operation = abi::SocketOperation::error});
  return error ? static_cast<int>(*error) : error.error();
}

Or<SocketName> HostSocket::name(std::uint32_t flags) {
  abi::SocketAddress name;
  const Or<std::uint64_t> told = number_.ask({.operation = abi::SocketOperation::name,
                                              .flags = flags,
                                              .buffer_gpa = address_of(&name),
                                              .buffer_bytes = sizeof name});
  if (!told) {
    return std::unexpected(told.error());
  }
  return SocketName::of(name).as_family(traits().family);
}

Or<SocketName> HostSocket::own_name() {
  Or<SocketName> own = name(0);
  if (own && own_port_ != 0) {
    own->internet.port = own_port_;
  }
  return own;
}

Or<SocketName> HostSocket::peer_name() {
  return name(abi::socket_peer);
}

int HostSocket::set_option(abi::SocketOption option, std::int64_t value) {
  const int error = number_.set_option(option, value);
  return error == 0 ? Socket::set_option(option, value) : error;
}

Or<std::int64_t> HostSocket::option(abi::SocketOption option) {
  if (option == abi::SocketOption::linger) {
    return Socket::option(option); // may be negative
  }
  const Or<std::uint64_t> value = number_.ask(
      {.operation = abi::SocketOperation::get_option, .mode = static_cast<std::uint32_t>(option)});
  return value ? Or<std::int64_t>(static_cast<std::int64_t>(*value))
               : std::unexpected(value.error());
}

Or<std::uint64_t> HostSocket::readable_bytes() {
  return number_.ask({.operation = abi::SocketOperation::readable_bytes});
}

Or<Readiness> HostSocket::ready_for(Readiness wanted) {
  return number_.ready_for(wanted);
}

int HostSocket::watch(Readiness wanted) {
  number_.watch(wanted);
  return 0;
}

} // namespace guest::linux
