// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/listening_socket.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "guest/linux/files/file_port.hpp"

namespace guest::linux {

ListeningSocket::ListeningSocket(Kind kind, const SocketTraits& traits,
                                 std::shared_ptr<BoundName> name, std::uint32_t backlog)
    : Socket(kind, traits), name_(std::move(name)), backlog_(std::min(backlog, most_waiting)) {
  name_->listener = this;
}

ListeningSocket::~ListeningSocket() {
  name_->listener = nullptr;
}

void ListeningSocket::listen_at_host(SocketPort& port, std::uint32_t number) {
  host_.emplace(port, number);
  traits().options.visit_changed([this](abi::SocketOption option, std::int64_t value) {
    static_cast<void>(host_->set_option(option, value));
  });
}

int ListeningSocket::set_option(abi::SocketOption option, std::int64_t value) {
  const int error = host_ ? host_->set_option(option, value) : 0;
  return error == 0 ? Socket::set_option(option, value) : error;
}

void ListeningSocket::set_backlog(std::uint32_t backlog) {
  backlog_ = std::min(backlog, most_waiting);
}

LocalSocket* ListeningSocket::connect(const LocalSocket::End& from, const SocketName& to) {
  if (waiting_.size() > backlog_ || is_shut_) {
    return nullptr;
  }
  const std::uint16_t family = traits().family;
  const SocketName own = family == AF_UNIX ? name_->name : to.as_family(family);
  const LocalSocket::Pair pair = LocalSocket::make(kind(), from, {.traits = traits(), .name = own});
  waiting_.push_back({.socket = std::unique_ptr<LocalSocket>(pair.other), .peer = from.name});
  ++arrivals_;
  return pair.one;
}

Or<Socket::Accepted> ListeningSocket::accept() {
  if (is_shut_) {
    return std::unexpected(EINVAL);
  }
  if (!waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    return Accepted{.socket = next.socket.release(), .peer = std::move(next.peer)};
  }
  return host_ ? accept_from_host() : std::unexpected(EAGAIN);
}

Or<Socket::Accepted> ListeningSocket::accept_from_host() {
  if (host_->ready_for(abi::file_readable) == 0) {
    return std::unexpected(EAGAIN); // without asking
  }
  abi::SocketAddress peer;
  const Or<std::uint64_t> number = host_->ask({.operation = abi::SocketOperation::accept,
                                               .buffer_gpa = address_of(&peer),
                                               .buffer_bytes = sizeof peer});
  if (!number) {
    return std::unexpected(number.error());
  }
  return Accepted{.socket = new HostSocket(traits(), host_->port(),
                                           static_cast<std::uint32_t>(*number), name_->name.port()),
                  .peer = SocketName::of(peer).as_family(traits().family)};
}

// Who waits for connections then waits in vain; new ones are refused.
int ListeningSocket::shut_down(Ends ends) {
  if (ends.reading) {
    is_shut_ = true;
    name_->listener = nullptr;
    waiting_.clear();
    host_.reset();
    ++arrivals_;
  }
  return 0;
}

Or<std::uint64_t> ListeningSocket::send(std::span<const std::byte> /*bytes*/, Files /*files*/,
                                        More /*more*/) {
  return std::unexpected(traits().family == AF_UNIX ? ENOTCONN : EPIPE);
}

Or<Socket::Received> ListeningSocket::receive(std::span<std::byte> /*to*/, Taking /*taking*/) {
  return std::unexpected(traits().family == AF_UNIX ? EINVAL : ENOTCONN);
}

Or<Readiness> ListeningSocket::ready_for(Readiness wanted) {
  Readiness is = host_ ? host_->ready_for(wanted & abi::file_readable) : 0;
  is |= !waiting_.empty() ? wanted & abi::file_readable : 0U;
  is |= is_shut_ ? abi::file_hung_up | (wanted & (abi::file_readable | file_read_hung_up)) : 0U;
  return is;
}

std::uint64_t ListeningSocket::arrivals(Readiness /*wanted*/) {
  return arrivals_ + (host_ ? host_->arrivals() : 0);
}

int ListeningSocket::watch(Readiness wanted) {
  if (host_) {
    host_->watch(wanted & abi::file_readable);
  }
  return 0;
}

} // namespace guest::linux
