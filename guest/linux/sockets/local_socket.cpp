// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/local_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "guest/linux/files/open_files.hpp"

namespace guest::linux {

namespace {

// What a message costs beside its bytes, so that many small ones are not too many.
constexpr std::uint64_t message_bytes = 512;
constexpr std::uint64_t most_message_bytes_less = 32; // than SO_SNDBUF

} // namespace

// What one end has: messages that have come to it, and what it does no more.
struct LocalSocket::Side {
  struct Message {
    std::vector<std::byte> bytes;
    std::uint64_t taken = 0;
    Socket::Files files;

    [[nodiscard]] std::uint64_t left() const { return bytes.size() - taken; }
    [[nodiscard]] std::uint64_t cost() const { return bytes.size() + message_bytes; }
  };

  SocketName name;
  std::deque<Message> messages;
  std::uint64_t cost = 0; // of those
  bool is_open = true;
  bool has_place = true; // with who listens: it is connected
  bool reads = true;
  bool writes = true;
  int error = 0;
  // That it is connected is one of each, to who has waited for it before.
  std::uint64_t arrivals = 1; // of messages and ends
  std::uint64_t releases = 1; // of room with the other side

  void take_first() {
    cost -= messages.front().cost();
    messages.pop_front();
  }
};

LocalSocket::LocalSocket(Kind kind, const End& end, std::shared_ptr<Side> own,
                         std::shared_ptr<Side> other)
    : Socket(kind, end.traits), own_(std::move(own)), other_(std::move(other)) {
  own_->name = end.name;
}

LocalSocket::Pair LocalSocket::make(Kind kind, const End& one, const End& other) {
  const auto first = std::shared_ptr<Side>(new Side);
  const auto second = std::shared_ptr<Side>(new Side);
  return {new LocalSocket(kind, one, first, second), new LocalSocket(kind, other, second, first)};
}

// Of TCP the other end learns that it is no longer listened to by what it sends, unless something
// was left unread here, or SO_LINGER wants it so.
LocalSocket::~LocalSocket() {
  const bool is_reset =
      !own_->messages.empty() || (is_tcp() && traits().options.get(abi::SocketOption::linger) == 0);
  own_->is_open = false;
  if (is_reset && other_->is_open) {
    reset_other(ECONNRESET);
  } else {
    static_cast<void>(shut_down({.reading = true, .writing = true}));
  }
  ++other_->arrivals;
  ++other_->releases;
  const auto unread = std::exchange(own_->messages, {}); // files in it may be the last of theirs
}

// ---- the way to be connected --------------------------------------------------------------------

int LocalSocket::connect_again() {
  if (!is_under_way_) {
    return EISCONN;
  }
  if (!own_->has_place && own_->error == 0) {
    return EALREADY;
  }
  is_under_way_ = false;
  return take_error();
}

void LocalSocket::keep_peer_out() {
  other_->has_place = false;
}

void LocalSocket::let_peer_in() {
  if (!std::exchange(other_->has_place, true)) {
    ++other_->arrivals;
    ++other_->releases;
  }
}

void LocalSocket::refuse_peer(int error) {
  reset_other(error);
}

bool LocalSocket::peer_gave_up() const {
  return !other_->has_place && !other_->is_open;
}

// ---- what goes through it ----------------------------------------------------------------------

Or<std::uint64_t> LocalSocket::send(std::span<const std::byte> bytes, Files files, More /*more*/) {
  if (!own_->has_place && own_->error == 0) {
    return std::unexpected(EAGAIN);
  }
  if (own_->error != 0 && is_tcp()) {
    return std::unexpected(take_error());
  }
  if (!own_->writes || (!is_tcp() && (!other_->is_open || !other_->reads))) {
    return std::unexpected(EPIPE);
  }
  if (!other_->is_open) { // which is told once it is there
    own_->reads = own_->writes = false;
    own_->error = EPIPE;
    ++own_->arrivals;
    ++own_->releases;
    return bytes.size();
  }
  const std::uint64_t used = other_->cost + message_bytes;
  const std::uint64_t room = traits().most_sent_bytes > used ? traits().most_sent_bytes - used : 0;
  std::uint64_t sent = bytes.size();
  if (kind() == Kind::stream) {
    sent = std::min(sent, room);
    if (bytes.empty()) {
      return 0;
    }
    if (sent == 0) {
      return std::unexpected(EAGAIN);
    }
  } else {
    if (sent > traits().most_sent_bytes - most_message_bytes_less) {
      return std::unexpected(EMSGSIZE);
    }
    if (sent > room && !other_->messages.empty()) {
      return std::unexpected(EAGAIN);
    }
  }
  Side::Message message{.bytes = {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(sent)},
                        .files = std::move(files)};
  other_->cost += message.cost();
  other_->messages.push_back(std::move(message));
  ++other_->arrivals;
  return sent;
}

Or<Socket::Received> LocalSocket::receive(std::span<std::byte> to, Taking taking) {
  std::deque<Side::Message>& messages = own_->messages;
  if (own_->error != 0 && (messages.empty() || kind() != Kind::stream)) {
    return std::unexpected(take_error());
  }
  if (messages.empty()) {
    if (!own_->reads) {
      return Received{};
    }
    return std::unexpected(EAGAIN);
  }
  Received received;
  const auto copy = [&](const Side::Message& from) {
    const std::uint64_t part = std::min(from.left(), to.size() - received.bytes);
    if (part != 0) {
      std::memcpy(to.data() + received.bytes, from.bytes.data() + from.taken, part);
    }
    received.bytes += part;
    return part;
  };
  if (kind() != Kind::stream) {
    Side::Message& first = messages.front();
    received.whole_bytes = first.left();
    copy(first);
    received.files = taking == Taking::yes ? std::move(first.files) : first.files;
    if (taking == Taking::yes) {
      own_->take_first();
    }
  } else {
    for (std::size_t index = 0; index < messages.size() && received.bytes < to.size();) {
      Side::Message& message = messages[index];
      const std::uint64_t part = copy(message);
      const bool has_files = !message.files.empty();
      if (taking == Taking::no) {
        received.files = has_files ? message.files : std::move(received.files);
        ++index;
      } else {
        received.files = has_files ? std::exchange(message.files, {}) : std::move(received.files);
        message.taken += part;
        if (message.left() == 0) {
          own_->take_first();
        }
      }
      if (has_files) {
        break;
      }
    }
    received.whole_bytes = received.bytes;
  }
  other_->releases += taking == Taking::yes ? 1 : 0;
  return received;
}

int LocalSocket::shut_down(Ends ends) {
  if (ends.reading) {
    own_->reads = false;
    other_->writes = other_->writes && is_tcp(); // TCP has no word for it
  }
  if (ends.writing) {
    own_->writes = false;
    other_->reads = false;
  }
  for (Side* const side : {own_.get(), other_.get()}) {
    ++side->arrivals;
    ++side->releases;
  }
  return 0;
}

void LocalSocket::reset_other(int error) {
  other_->error = error;
  other_->reads = other_->writes = false;
  ++other_->arrivals;
  ++other_->releases;
}

int LocalSocket::take_error() {
  return std::exchange(own_->error, 0);
}

Or<SocketName> LocalSocket::own_name() {
  return own_->name;
}

Or<SocketName> LocalSocket::peer_name() {
  if (!is_tcp()) {
    return own_->has_place ? Or<SocketName>(other_->name) : std::unexpected(ENOTCONN);
  }
  const bool is_over = !other_->is_open && !own_->writes; // TCP remembers it until then
  return own_->has_place && !is_over ? Or<SocketName>(other_->name.as_family(traits().family))
                                     : std::unexpected(ENOTCONN);
}

// ---- as a file ---------------------------------------------------------------------------------

Or<std::uint64_t> LocalSocket::readable_bytes() {
  std::uint64_t bytes = 0;
  for (const Side::Message& message : own_->messages) {
    bytes += message.left();
  }
  return bytes;
}

bool LocalSocket::is_writable() const {
  return own_->has_place && other_->cost * 4 <= traits().most_sent_bytes;
}

Or<Readiness> LocalSocket::ready_for(Readiness wanted) {
  Readiness is = 0;
  if (!own_->messages.empty() || !own_->reads) {
    is |= abi::file_readable;
  }
  is |= own_->reads ? 0U : file_read_hung_up;
  is |= is_writable() ? abi::file_writable : 0U;
  is &= wanted;
  is |= !own_->reads && !own_->writes ? abi::file_hung_up : 0U;
  is |= own_->error != 0 ? file_failed : 0U;
  return is;
}

std::uint64_t LocalSocket::arrivals(Readiness wanted) {
  constexpr Readiness comes = abi::file_readable | file_read_hung_up;
  return ((wanted & comes) != 0 || !own_->reads ? own_->arrivals : 0) +
         ((wanted & abi::file_writable) != 0 ? own_->releases : 0);
}

} // namespace guest::linux
