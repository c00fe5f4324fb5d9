// SPDX-License-Identifier: MIT
// A connection through the host, from when it begins: what goes through it is the host's TCP, and
// the errors are the host's. Pure but for SocketPort.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/linux/sockets/socket.hpp"
#include "guest/linux/sockets/socket_port.hpp"

namespace guest::linux {

// A number that the host gave, until it goes back.
class HostNumber {
 public:
  // `port` outlives this.
  HostNumber(SocketPort& port, std::uint32_t number) : port_(port), number_(number) {}
  HostNumber(const HostNumber&) = delete;
  HostNumber& operator=(const HostNumber&) = delete;
  ~HostNumber();

  // `call.socket` is set here. A result, or an error number.
  [[nodiscard]] Or<std::uint64_t> ask(abi::SocketCall call) const;
  // 0 or an error number.
  [[nodiscard]] int set_option(abi::SocketOption option, std::int64_t value) const;
  // As File has these.
  [[nodiscard]] Readiness ready_for(Readiness wanted) const;
  [[nodiscard]] std::uint64_t arrivals() const { return port_.state(number_).changes; }
  void watch(Readiness wanted) const;
  [[nodiscard]] SocketPort& port() const { return port_; }

 private:
  SocketPort& port_;
  std::uint32_t number_;
};

class HostSocket final : public Socket {
 public:
  // `own_port` is the program's end of it; 0: what the host says.
  HostSocket(const SocketTraits& traits, SocketPort& port, std::uint32_t number,
             std::uint16_t own_port);
  // It is still to be connected, and begins with what setsockopt has said before.
  void begin();

  [[nodiscard]] Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files,
                                       More more) override;
  [[nodiscard]] Or<Received> receive(std::span<std::byte> to, Taking taking) override;
  [[nodiscard]] int shut_down(Ends ends) override;
  [[nodiscard]] int take_error() override;
  [[nodiscard]] int connect_again() override;
  [[nodiscard]] bool is_connected() const override { return true; }
  [[nodiscard]] Or<SocketName> own_name() override;
  [[nodiscard]] Or<SocketName> peer_name() override;
  [[nodiscard]] int set_option(abi::SocketOption option, std::int64_t value) override;
  [[nodiscard]] Or<std::int64_t> option(abi::SocketOption option) override;

  [[nodiscard]] Or<std::uint64_t> readable_bytes() override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness /*wanted*/) override { return number_.arrivals(); }
  [[nodiscard]] bool may_become_ready() const override { return true; }
  [[nodiscard]] int watch(Readiness wanted) override;

 private:
  [[nodiscard]] Or<SocketName> name(std::uint32_t flags);

  HostNumber number_;
  std::uint16_t own_port_;
  bool is_under_way_ = false;
};

} // namespace guest::linux
