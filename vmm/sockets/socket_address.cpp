// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/core.h>

namespace vmm {
namespace {

constexpr std::size_t ipv4_bytes = 4;

} // namespace

std::optional<KernelAddress> kernel_address(const abi::SocketAddress& address) {
  KernelAddress kernel;
  if (address.family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, &address.address, ipv4_bytes);
    std::memcpy(&kernel.storage, &in, sizeof in);
    kernel.bytes = sizeof in;
    return kernel;
  }
  if (address.family == AF_INET6) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(address.port);
    in.sin6_scope_id = address.scope;
    std::memcpy(&in.sin6_addr, &address.address, sizeof in.sin6_addr);
    std::memcpy(&kernel.storage, &in, sizeof in);
    kernel.bytes = sizeof in;
    return kernel;
  }
  return std::nullopt;
}

abi::SocketAddress guest_address(const KernelAddress& address) {
  abi::SocketAddress guest;
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address.storage, sizeof in);
    guest.family = AF_INET;
    guest.port = ntohs(in.sin_port);
    std::memcpy(&guest.address, &in.sin_addr, ipv4_bytes);
  } else if (address.storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address.storage, sizeof in);
    guest.family = AF_INET6;
    guest.port = ntohs(in.sin6_port);
    guest.scope = in.sin6_scope_id;
    std::memcpy(&guest.address, &in.sin6_addr, sizeof in.sin6_addr);
  }
  return guest;
}

bool same_end(const abi::SocketAddress& one, const abi::SocketAddress& other) {
  if (one.family != other.family || one.port != other.port) {
    return false;
  }
  return one.family == AF_INET
             ? std::equal(one.address, one.address + ipv4_bytes, other.address)
             : one.scope == other.scope && std::ranges::equal(one.address, other.address);
}

std::string text_of(const abi::SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(address.family, &address.address, text.data(), text.size());
  return address.family == AF_INET6 ? fmt::format("[{}]:{}", text.data(), address.port)
                                    : fmt::format("{}:{}", text.data(), address.port);
}

} // namespace vmm
