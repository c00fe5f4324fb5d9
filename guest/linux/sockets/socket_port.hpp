// SPDX-License-Identifier: MIT
// How a program's sockets reach the host's connections.
#pragma once

#include <cstdint>

#include "shared/socket_call.hpp"

namespace guest::linux {

class SocketPort {
 public:
  // shared/socket_call.hpp says what each operation does. Buffers may be any memory of the guest.
  [[nodiscard]] virtual abi::CallResult perform(const abi::SocketCall& call) = 0;
  // What the board says of a socket.
  [[nodiscard]] virtual abi::SocketState state(std::uint32_t socket) const = 0;
  // Has Machine::sleep_until_ns end at the next change of any, or at once where the socket is
  // `ready` for something of that already.
  virtual void watch(std::uint32_t socket, std::uint32_t ready) = 0;

 protected:
  SocketPort() = default;
  ~SocketPort() = default;
};

} // namespace guest::linux
