// SPDX-License-Identifier: MIT
// A socket that takes connections: of the guest's own, and, where the host lets them come, the
// host's. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "guest/linux/sockets/bound_names.hpp"
#include "guest/linux/sockets/host_socket.hpp"
#include "guest/linux/sockets/local_socket.hpp"

namespace guest::linux {

class ListeningSocket final : public Socket {
 public:
  // Connections may wait, at most so many and one (net.core.somaxconn).
  static constexpr std::uint32_t most_waiting = 4096;

  ListeningSocket(Kind kind, const SocketTraits& traits, std::shared_ptr<BoundName> name,
                  std::uint32_t backlog);
  ~ListeningSocket() override;

  // Those that come through the host, too. What setsockopt has said is said there of all of them.
  void listen_at_host(SocketPort& port, std::uint32_t number);
  void set_backlog(std::uint32_t backlog) override;
  // Somebody in the guest connects to that name of this, and is connected once no more than the
  // backlog has room for wait before it. The caller's.
  [[nodiscard]] LocalSocket* connect(const LocalSocket::End& from, const SocketName& to);

  [[nodiscard]] bool is_listening() const override { return true; }
  [[nodiscard]] Or<Accepted> accept() override;
  [[nodiscard]] Or<SocketName> own_name() override { return name_->name; }
  [[nodiscard]] int shut_down(Ends ends) override;
  [[nodiscard]] int set_option(abi::SocketOption option, std::int64_t value) override;

  [[nodiscard]] Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files,
                                       More more) override;
  [[nodiscard]] Or<Received> receive(std::span<std::byte> to, Taking taking) override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;
  [[nodiscard]] bool may_become_ready() const override { return host_.has_value(); }
  [[nodiscard]] int watch(Readiness wanted) override;

 private:
  [[nodiscard]] Or<Accepted> accept_from_host();
  void let_in();
  void refuse_all();

  std::shared_ptr<BoundName> name_;
  std::uint32_t backlog_;
  struct Waiting {
    std::unique_ptr<LocalSocket> socket;
    SocketName peer; // it may have gone again
  };
  std::deque<Waiting> waiting_; // the first backlog_ + 1 are connected
  std::uint64_t arrivals_ = 0;
  bool is_shut_ = false;
  std::optional<HostNumber> host_;
};

} // namespace guest::linux
