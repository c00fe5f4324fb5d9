// SPDX-License-Identifier: MIT
// An end of a connection as the guest has it (abi::SocketAddress), and as the kernel does.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>

#include "shared/socket_call.hpp"

namespace vmm {

struct KernelAddress {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(sockaddr_storage);

  // Justified: the socket calls take every kind of address by this type.
  [[nodiscard]] sockaddr* generic() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] const sockaddr* generic() const {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
};

// Nothing: a family that is neither IPv4 nor IPv6.
[[nodiscard]] std::optional<KernelAddress> kernel_address(const abi::SocketAddress& address);
// Family 0 for what is neither.
[[nodiscard]] abi::SocketAddress guest_address(const KernelAddress& address);

// Exactly the same end: of IPv4 the first 4 bytes and the port count, of IPv6 all.
[[nodiscard]] bool same_end(const abi::SocketAddress& one, const abi::SocketAddress& other);

// "127.0.0.1:80", "[::1]:80".
[[nodiscard]] std::string text_of(const abi::SocketAddress& address);

} // namespace vmm
