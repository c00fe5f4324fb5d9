// SPDX-License-Identifier: MIT
// Socket calls with a program's addresses: finds where the host has what lies there, and makes
// several calls of one where it does not lie in a row.
#pragma once

#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/sockets/socket_port.hpp"

namespace guest::linux {

class TranslatedSockets final : public SocketPort {
 public:
  // Both outlive this.
  TranslatedSockets(AddressSpace& memory, SocketPort& host) : memory_(memory), host_(host) {}

  // Buffers are addresses as the program sees them, or the kernel's own; looking at what has come
  // looks no further than they are in a row. -ENOMEM when there is no memory for a buffer that
  // nobody has touched before.
  [[nodiscard]] abi::CallResult perform(const abi::SocketCall& call) override;
  [[nodiscard]] abi::SocketState state(std::uint32_t socket) const override {
    return host_.state(socket);
  }
  void watch(std::uint32_t socket, std::uint32_t ready) override { host_.watch(socket, ready); }

 private:
  [[nodiscard]] abi::CallResult transfer(abi::SocketCall call);

  AddressSpace& memory_;
  SocketPort& host_;
};

} // namespace guest::linux
