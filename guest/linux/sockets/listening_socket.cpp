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
  refuse_all();
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
  let_in();
}

// Those who have a place now. Who has gone before it had one has never been here.
void ListeningSocket::let_in() {
  std::erase_if(waiting_, [](const Waiting& one) { return one.socket->peer_gave_up(); });
  const std::size_t places = std::min(waiting_.size(), std::size_t{backlog_} + 1);
  for (std::size_t index = 0; index < places; ++index) {
    waiting_[index].socket->let_peer_in();
  }
}

void ListeningSocket::refuse_all() {
  for (std::size_t index = 0; index < waiting_.size(); ++index) {
    waiting_[index].socket->refuse_peer(index <= backlog_ ? ECONNRESET : ECONNREFUSED);
  }
  waiting_.clear();
}

LocalSocket* ListeningSocket::connect(const LocalSocket::End& from, const SocketName& to) {
  const std::uint16_t family = traits().family;
  const SocketName own = family == AF_UNIX ? name_->name : to.as_family(family);
  const LocalSocket::Pair pair = LocalSocket::make(kind(), from, {.traits = traits(), .name = own});
  pair.one->begin();
  pair.other->keep_peer_out();
  waiting_.push_back({.socket = std::unique_ptr<LocalSocket>(pair.other), .peer = from.name});
  let_in();
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
    let_in();
    const std::uint16_t family = traits().family;
    SocketName peer = std::move(next.peer);
    return Accepted{.socket = next.socket.release(),
                    .peer = family == AF_UNIX ? std::move(peer) : peer.as_family(family)};
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
    refuse_all();
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
