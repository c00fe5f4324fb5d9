// SPDX-License-Identifier: MIT
// A socket that is connected to another one in the guest: socketpair(2) of AF_UNIX, as unix(7) has
// it, or both ends of a connection within the guest, which of TCP are closed and reset as tcp(7)
// and the hosts of a network do it. What is sent waits with the other one. Pure.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "guest/linux/sockets/socket.hpp"

namespace guest::linux {

// A stream or packets (datagrams need no connection: datagram_socket.hpp).
class LocalSocket final : public Socket {
 public:
  struct Pair {
    LocalSocket* one = nullptr;
    LocalSocket* other = nullptr;
  };
  // What each end has from before; their names are each other's peers'.
  struct End {
    SocketTraits traits;
    SocketName name;
  };
  // Both belong to the caller.
  [[nodiscard]] static Pair make(Kind kind, const End& one, const End& other);
  ~LocalSocket() override;

  // ---- connect(2) has made it, and has still to say how that went
  void begin() { is_under_way_ = true; }
  [[nodiscard]] int connect_again() override;
  // ---- of the end that who listens has, while the other one waits for a place with it
  void keep_peer_out();
  void let_peer_in();
  // Nobody will ever take it: that error is told there.
  void refuse_peer(int error);
  // It has gone without having been let in.
  [[nodiscard]] bool peer_gave_up() const;

  [[nodiscard]] Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files,
                                       More more) override;
  [[nodiscard]] Or<Received> receive(std::span<std::byte> to, Taking taking) override;
  [[nodiscard]] int shut_down(Ends ends) override;
  [[nodiscard]] int take_error() override;
  [[nodiscard]] bool is_connected() const override { return true; }
  [[nodiscard]] Or<SocketName> own_name() override;
  [[nodiscard]] Or<SocketName> peer_name() override;

  // SO_SNDBUF is at least that, in bytes, as Linux counts them.
  static constexpr std::uint64_t least_bytes = 4608;

  [[nodiscard]] Or<std::uint64_t> readable_bytes() override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;

 private:
  struct Side;
  LocalSocket(Kind kind, const End& end, std::shared_ptr<Side> own, std::shared_ptr<Side> other);

  [[nodiscard]] bool is_tcp() const { return traits().family != AF_UNIX; }
  [[nodiscard]] bool is_writable() const;
  void reset_other(int error);

  std::shared_ptr<Side> own_;
  std::shared_ptr<Side> other_;
  bool is_under_way_ = false;
};

} // namespace guest::linux
