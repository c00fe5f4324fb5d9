// SPDX-License-Identifier: MIT
// The sockets of a program before they are connected, and how they come to be: within the guest,
// and through the host where it lets them. Pure.
#pragma once

#include <cstdint>
#include <memory>

#include "guest/linux/sockets/bound_names.hpp"
#include "guest/linux/sockets/datagram_socket.hpp"
#include "guest/linux/sockets/socket.hpp"
#include "guest/linux/sockets/socket_port.hpp"

namespace guest::linux {

// As socket(2) makes it, but for datagrams.
class UnconnectedSocket final : public Socket {
 public:
  UnconnectedSocket(Kind kind, const SocketTraits& traits) : Socket(kind, traits) {}

  std::shared_ptr<BoundName> name; // null: it has none

  [[nodiscard]] Or<SocketName> own_name() override;
  [[nodiscard]] Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files,
                                       More more) override;
  [[nodiscard]] Or<Received> receive(std::span<std::byte> to, Taking taking) override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] UnconnectedSocket* unconnected() override { return this; }
};

class Network {
 public:
  // `host` outlives this; null: there are no connections but the guest's own.
  explicit Network(SocketPort* host) : host_(host) {}

  // The next socket's inode.
  [[nodiscard]] std::uint64_t next_inode() { return ++inodes_; }
  // EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT; `type` without flags. The caller's.
  [[nodiscard]] Or<Socket*> make(std::uint64_t family, std::uint64_t type, std::uint64_t protocol);
  // 0 or an error number: EINVAL where it has a name already.
  [[nodiscard]] int bind(UnconnectedSocket& socket, const SocketName& name);
  [[nodiscard]] int bind(DatagramSocket& socket, const SocketName& name);
  // Where messages to that name go. EINVAL, ECONNREFUSED, EPROTOTYPE.
  [[nodiscard]] Or<std::shared_ptr<Mailbox>> mailbox_at(const SocketName& name);
  // What it becomes; the caller's. EADDRINUSE, EOPNOTSUPP; EINVAL of AF_UNIX without a name.
  [[nodiscard]] Or<Socket*> listen(const UnconnectedSocket& socket, std::uint32_t backlog);
  // Likewise; the connection is under way then, and writable once it is there.
  // ECONNREFUSED, ENETUNREACH, EACCES.
  [[nodiscard]] Or<Socket*> connect(const UnconnectedSocket& socket, const SocketName& to);
  // Whether a file of AF_UNIX has its socket still.
  [[nodiscard]] bool is_listening(const SocketName& name) {
    return names_.listener_at(name) != nullptr;
  }

 private:
  [[nodiscard]] Or<Socket*> connect_through_host(const UnconnectedSocket& socket,
                                                 const SocketName& to);

  [[nodiscard]] Or<std::shared_ptr<BoundName>> take(const Socket& socket, const SocketName& name);

  SocketPort* host_;
  BoundNames names_;
  std::uint64_t inodes_ = 0;
};

} // namespace guest::linux
