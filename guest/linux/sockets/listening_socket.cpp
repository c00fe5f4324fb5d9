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

void ListeningSocket::set_backlog(std::uint32_t backlog) {
  backlog_ = std::min(backlog, most_waiting);
}

LocalSocket* ListeningSocket::connect(const LocalSocket::End& from, const SocketName& to) {
  if (waiting_.size() > backlog_ || is_shut_) {
    return nullptr;
  }
  const SocketName own = traits().family == AF_UNIX   ? name_->name
                         : traits().family == AF_INET ? to.as_version_4()
                                                      : to.as_version_6();
  const LocalSocket::Pair pair = LocalSocket::make(kind(), from, {.traits = traits(), .name = own});
  waiting_.emplace_back(pair.other);
  ++arrivals_;
  return pair.one;
}

Or<Socket*> ListeningSocket::accept() {
  if (is_shut_) {
    return std::unexpected(EINVAL);
  }
  if (!waiting_.empty()) {
    Socket* const next = waiting_.front().release();
    waiting_.pop_front();
    return next;
  }
  return host_ ? accept_from_host() : std::unexpected(EAGAIN);
}

Or<Socket*> ListeningSocket::accept_from_host() {
  if (host_->ready_for(abi::file_readable) == 0) {
    return std::unexpected(EAGAIN); // without asking
  }
  const Or<std::uint64_t> number = host_->ask({.operation = abi::SocketOperation::accept});
  if (!number) {
    return std::unexpected(number.error());
  }
  return new HostSocket(traits(), host_->port(), static_cast<std::uint32_t>(*number),
                        name_->name.port());
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
