// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/network.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "guest/linux/files/file_port.hpp"
#include "guest/linux/sockets/listening_socket.hpp"

namespace guest::linux {

namespace {

bool is_internet(std::uint64_t family) {
  return family == AF_INET || family == AF_INET6;
}

// To any address is to the own one, as in Linux.
SocketName with_host(const SocketName& to) {
  if (!is_internet(to.family) || !to.is_any()) {
    return to;
  }
  SocketName own = to;
  if (to.family == AF_INET) {
    own.internet.address[0] = 127;
    own.internet.address[3] = 1;
  } else {
    own.internet.address[15] = 1;
  }
  return own;
}

} // namespace

// ---- before it is connected --------------------------------------------------------------------

Or<SocketName> UnconnectedSocket::own_name() {
  return name ? Or<SocketName>(name->name) : Socket::own_name();
}

Or<std::uint64_t> UnconnectedSocket::send(std::span<const std::byte> /*bytes*/, Files /*files*/,
                                          More /*more*/) {
  return std::unexpected(kind() == Kind::stream && is_internet(traits().family) ? EPIPE : ENOTCONN);
}

Or<Socket::Received> UnconnectedSocket::receive(std::span<std::byte> /*to*/, Taking /*taking*/) {
  return std::unexpected(traits().family == AF_UNIX && kind() == Kind::stream ? EINVAL : ENOTCONN);
}

Or<Readiness> UnconnectedSocket::ready_for(Readiness wanted) {
  return (wanted & abi::file_writable) | abi::file_hung_up;
}

// ---- all of them -------------------------------------------------------------------------------

Or<Socket*> Network::make(std::uint64_t family, std::uint64_t type, std::uint64_t protocol) {
  Socket::Kind kind = Socket::Kind::stream;
  if (family == AF_UNIX) {
    if (protocol != 0 && protocol != PF_UNIX) {
      return std::unexpected(EPROTONOSUPPORT);
    }
    if (type == SOCK_DGRAM || type == SOCK_RAW) {
      kind = Socket::Kind::datagrams;
    } else if (type == SOCK_SEQPACKET) {
      kind = Socket::Kind::packets;
    } else if (type != SOCK_STREAM) {
      return std::unexpected(ESOCKTNOSUPPORT);
    }
  } else if (!is_internet(family)) {
    return std::unexpected(EAFNOSUPPORT);
  } else if (type != SOCK_STREAM || (protocol != 0 && protocol != IPPROTO_TCP)) {
    return std::unexpected(type == SOCK_RAW ? EPERM : EPROTONOSUPPORT);
  }
  SocketTraits traits;
  traits.inode = next_inode();
  traits.family = static_cast<std::uint16_t>(family);
  return kind == Socket::Kind::datagrams ? static_cast<Socket*>(new DatagramSocket(traits))
                                         : new UnconnectedSocket(kind, traits);
}

Or<std::shared_ptr<BoundName>> Network::take(const Socket& socket, const SocketName& name) {
  if (name.family != socket.traits().family) {
    return std::unexpected(is_internet(socket.traits().family) ? EAFNOSUPPORT : EINVAL);
  }
  return names_.take({.name = name,
                      .reuses_address = socket.traits().reuses_address,
                      .reuses_port = socket.traits().reuses_port,
                      .is_version_6_only = socket.traits().is_version_6_only});
}

int Network::bind(DatagramSocket& socket, const SocketName& name) {
  if (socket.has_name()) {
    return EINVAL;
  }
  Or<std::shared_ptr<BoundName>> taken = take(socket, name);
  if (!taken) {
    return taken.error();
  }
  socket.take_name(std::move(*taken));
  return 0;
}

Or<std::shared_ptr<Mailbox>> Network::mailbox_at(const SocketName& name) {
  return name.family != AF_UNIX || name.unix_name.empty()
             ? Or<std::shared_ptr<Mailbox>>(std::unexpected(EINVAL))
             : names_.mailbox_at(name);
}

int Network::bind(UnconnectedSocket& socket, const SocketName& name) {
  if (socket.name != nullptr) {
    return EINVAL;
  }
  Or<std::shared_ptr<BoundName>> taken = take(socket, name);
  if (!taken) {
    return taken.error();
  }
  socket.name = std::move(*taken);
  return 0;
}

Or<Socket*> Network::listen(const UnconnectedSocket& socket, std::uint32_t backlog) {
  std::shared_ptr<BoundName> name = socket.name;
  const bool is_unix = socket.traits().family == AF_UNIX;
  if (name == nullptr) {
    if (is_unix) {
      return std::unexpected(EINVAL);
    }
    SocketName any;
    any.family = any.internet.family = socket.traits().family;
    Or<std::shared_ptr<BoundName>> taken = names_.take({.name = any});
    if (!taken) {
      return std::unexpected(taken.error());
    }
    name = std::move(*taken);
  }
  if (const int error = names_.may_listen(*name); error != 0) {
    return std::unexpected(error);
  }
  auto* const listening = new ListeningSocket(socket.kind(), socket.traits(), name, backlog);
  if (host_ != nullptr && !is_unix) {
    // What the host does not let come, or what comes to another already, is the guest's own alone.
    const abi::CallResult number = host_->perform(
        {.operation = abi::SocketOperation::listen, .mode = backlog, .value = name->name.port()});
    if (number >= 0) {
      listening->listen_at_host(*host_, static_cast<std::uint32_t>(number));
    }
  }
  return listening;
}

Or<Socket*> Network::connect(const UnconnectedSocket& socket, const SocketName& to) {
  const std::uint16_t family = socket.traits().family;
  if (to.family != family) {
    return std::unexpected(is_internet(family) ? EAFNOSUPPORT : EINVAL);
  }
  const SocketName there = with_host(to);
  const bool is_here = family == AF_UNIX || there.is_loopback();
  ListeningSocket* const listener = is_here ? names_.listener_at(there) : nullptr;
  if (listener == nullptr) {
    if (family != AF_UNIX) {
      return connect_through_host(socket, there);
    }
    return std::unexpected(names_.mailbox_at(there) ? EPROTOTYPE : ECONNREFUSED);
  }
  if (listener->kind() != socket.kind()) {
    return std::unexpected(EPROTOTYPE);
  }
  LocalSocket::End own{.traits = socket.traits(), .name = {}};
  own.name.family = own.name.internet.family = family;
  if (socket.name != nullptr) {
    own.name = socket.name->name;
  } else if (family != AF_UNIX) {
    // The port is free again at once: nobody looks for it by its number.
    Or<std::shared_ptr<BoundName>> taken = names_.take({.name = own.name});
    if (!taken) {
      return std::unexpected(EADDRNOTAVAIL);
    }
    own.name = (*taken)->name;
  }
  if (family != AF_UNIX && own.name.is_any()) {
    const std::uint16_t port = own.name.port();
    own.name = there;
    own.name.internet.port = port;
  }
  return listener->connect(own, there);
}

Or<Socket*> Network::connect_through_host(const UnconnectedSocket& socket, const SocketName& to) {
  const int refused = to.is_loopback() ? ECONNREFUSED : ENETUNREACH;
  if (host_ == nullptr) {
    return std::unexpected(refused);
  }
  const abi::SocketAddress address = to.as_version_4().internet;
  const abi::CallResult number = host_->perform({.operation = abi::SocketOperation::connect,
                                                 .buffer_gpa = address_of(&address),
                                                 .buffer_bytes = sizeof address});
  if (number < 0) {
    const int error = static_cast<int>(-number);
    return std::unexpected(error == EACCES && to.is_loopback() ? ECONNREFUSED : error);
  }
  auto* const connecting =
      new HostSocket(socket.traits(), *host_, static_cast<std::uint32_t>(number), 0);
  connecting->begin();
  return connecting;
}

} // namespace guest::linux
