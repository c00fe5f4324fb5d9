// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/datagram_socket.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t most_message_bytes_less = 32; // than SO_SNDBUF

} // namespace

// ---- where messages wait -----------------------------------------------------------------------

std::uint64_t Mailbox::Message::cost() const {
  constexpr std::uint64_t beside = 320; // in one piece with the bytes
  constexpr std::uint64_t head = 256;
  constexpr std::uint64_t largest_piece = 16384;
  const std::uint64_t piece = bytes.size() + beside;
  return head + (piece <= largest_piece ? std::bit_ceil(std::max<std::uint64_t>(piece, 512))
                                        : abi::align_up(bytes.size(), abi::page_bytes) + 512);
}

Mailbox::Message Mailbox::take() {
  Message first = std::move(messages.front());
  messages.pop_front();
  ++taken;
  first.from->sent_cost -= first.cost();
  ++first.from->releases;
  return first;
}

void Mailbox::drop_all() {
  while (!messages.empty()) {
    static_cast<void>(take());
  }
}

// ---- to whom -----------------------------------------------------------------------------------

DatagramSocket::DatagramSocket(const SocketTraits& traits)
    : Socket(Kind::datagrams, traits), own_(new Mailbox) {
  own_->name.family = own_->name.internet.family = AF_UNIX;
}

// Who is connected to it learns that by what it sends.
DatagramSocket::~DatagramSocket() {
  own_->is_open = false;
  const std::shared_ptr<Mailbox> peer = std::exchange(own_->peer, nullptr);
  own_->drop_all();
  ++own_->taken; // there is room, to be told so
}

DatagramSocket::Pair DatagramSocket::make_pair(const SocketTraits& one, const SocketTraits& other) {
  const Pair pair{new DatagramSocket(one), new DatagramSocket(other)};
  pair.one->own_->peer = pair.other->own_;
  pair.other->own_->peer = pair.one->own_;
  return pair;
}

void DatagramSocket::take_name(std::shared_ptr<BoundName> name) {
  name_ = std::move(name);
  name_->mailbox = own_;
  own_->name = name_->name;
}

// One that was connected to this, too, is told what becomes of its messages.
int DatagramSocket::connect(std::shared_ptr<Mailbox> to) {
  if (to != nullptr && !to->hears(*own_)) {
    return EPERM;
  }
  const std::shared_ptr<Mailbox> before = std::exchange(own_->peer, std::move(to));
  if (before != nullptr && before != own_->peer && !own_->messages.empty()) {
    own_->drop_all();
    if (before->is_open && before->peer == own_) {
      before->error = ECONNRESET;
      ++before->arrivals;
    }
  }
  return 0;
}

Or<SocketName> DatagramSocket::peer_name() {
  return own_->peer != nullptr ? Or<SocketName>(own_->peer->name) : std::unexpected(ENOTCONN);
}

// ---- what goes through it ----------------------------------------------------------------------

// In Linux's order.
Or<std::uint64_t> DatagramSocket::send_to(const std::shared_ptr<Mailbox>& to,
                                          std::span<const std::byte> bytes, Files files) {
  if (bytes.size() > traits().most_sent_bytes - most_message_bytes_less) {
    return std::unexpected(EMSGSIZE);
  }
  if (!own_->writes) {
    return std::unexpected(EPIPE);
  }
  if (own_->sent_cost >= traits().most_sent_bytes) {
    full_.reset();
    return std::unexpected(EAGAIN);
  }
  if (!to->is_open) {
    return std::unexpected(ECONNREFUSED);
  }
  if (!to->hears(*own_)) {
    return std::unexpected(EPERM);
  }
  if (!to->reads) {
    return std::unexpected(EPIPE);
  }
  if (to->is_full_for(*own_)) {
    full_ = to;
    return std::unexpected(EAGAIN);
  }
  to->messages.push_back(
      {.bytes = {bytes.begin(), bytes.end()}, .files = std::move(files), .from = own_});
  own_->sent_cost += to->messages.back().cost();
  ++to->arrivals;
  return bytes.size();
}

Or<std::uint64_t> DatagramSocket::send(std::span<const std::byte> bytes, Files files,
                                       More /*more*/) {
  const std::shared_ptr<Mailbox> to = own_->peer;
  if (to == nullptr) {
    return std::unexpected(ENOTCONN);
  }
  Or<std::uint64_t> sent = send_to(to, bytes, std::move(files));
  if (!sent && sent.error() == ECONNREFUSED) {
    own_->peer = nullptr;
  }
  return sent;
}

Or<Socket::Received> DatagramSocket::receive(std::span<std::byte> to, Taking taking) {
  if (own_->error != 0) {
    return std::unexpected(take_error());
  }
  if (own_->messages.empty()) {
    return own_->reads ? Or<Received>(std::unexpected(EAGAIN)) : Received{};
  }
  const Mailbox::Message& first = own_->messages.front();
  const std::uint64_t fit = std::min(first.bytes.size(), to.size());
  if (fit != 0) {
    std::memcpy(to.data(), first.bytes.data(), fit);
  }
  Received received{.bytes = fit,
                    .whole_bytes = first.bytes.size(),
                    .files = first.files,
                    .from = first.from->name};
  if (taking == Taking::yes) {
    static_cast<void>(own_->take());
  }
  return received;
}

int DatagramSocket::shut_down(Ends ends) {
  own_->reads = own_->reads && !ends.reading;
  own_->writes = own_->writes && !ends.writing;
  ++own_->arrivals;
  ++own_->releases;
  ++own_->taken;
  return 0;
}

int DatagramSocket::take_error() {
  return std::exchange(own_->error, 0);
}

// ---- as a file ---------------------------------------------------------------------------------

Or<std::uint64_t> DatagramSocket::readable_bytes() {
  return own_->messages.empty() ? 0 : own_->messages.front().bytes.size();
}

bool DatagramSocket::is_writable() const {
  return own_->sent_cost * 4 <= traits().most_sent_bytes &&
         (own_->peer == nullptr || !own_->peer->is_full_for(*own_));
}

bool DatagramSocket::would_take_refused() const {
  const std::shared_ptr<Mailbox> full = full_.lock();
  return own_->sent_cost < traits().most_sent_bytes &&
         (full == nullptr || !full->is_open || !full->reads || !full->is_full_for(*own_));
}

Or<Readiness> DatagramSocket::ready_for(Readiness wanted) {
  Readiness is = !own_->messages.empty() || !own_->reads ? abi::file_readable : 0U;
  is |= own_->reads ? 0U : file_read_hung_up;
  is |= is_writable() ? abi::file_writable : 0U;
  is |= would_take_refused() ? file_takes_message : 0U;
  is &= wanted;
  is |= !own_->reads && !own_->writes ? abi::file_hung_up : 0U;
  is |= own_->error != 0 ? file_failed : 0U;
  return is;
}

std::uint64_t DatagramSocket::arrivals(Readiness wanted) {
  constexpr Readiness comes = abi::file_readable | file_read_hung_up;
  const std::uint64_t room = own_->releases + (own_->peer == nullptr ? 0 : own_->peer->taken);
  return ((wanted & comes) != 0 || !own_->reads ? own_->arrivals : 0) +
         ((wanted & abi::file_writable) != 0 ? room : 0);
}

} // namespace guest::linux
