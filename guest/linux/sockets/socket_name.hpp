// SPDX-License-Identifier: MIT
// What a socket is called, as bind(2) and getsockname(2) have it: an address and port of IPv4 or
// IPv6, or a name of unix(7). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/text.hpp"
#include "shared/socket_call.hpp"

namespace guest::linux {

struct SocketName {
  std::uint16_t family = 0; // AF_UNIX, AF_INET, AF_INET6; AF_UNSPEC: none
  abi::SocketAddress internet;
  Text unix_name; // of AF_UNIX; abstract ones begin with NUL; empty: it has none
  // Of a unix_name that is a path: which file that is.
  std::uint64_t device = 0;
  std::uint64_t inode = 0;

  // From a struct sockaddr. EINVAL where it is too short; EAFNOSUPPORT.
  [[nodiscard]] static Or<SocketName> from(std::span<const std::byte> address);
  // As a struct sockaddr.
  [[nodiscard]] std::vector<std::byte> bytes() const;

  [[nodiscard]] static SocketName of(const abi::SocketAddress& address) {
    SocketName name;
    name.family = address.family;
    name.internet = address;
    return name;
  }
  [[nodiscard]] std::uint16_t port() const { return internet.port; }
  [[nodiscard]] bool is_path() const { return !unix_name.empty() && unix_name.front() != '\0'; }
  [[nodiscard]] bool is_any() const;      // 0.0.0.0, ::
  [[nodiscard]] bool is_loopback() const; // 127.0.0.0/8, ::1, and those as IPv6 has them
  [[nodiscard]] bool is_same_host(const SocketName& other) const;
  // An address of IPv4 that IPv6 has (::ffff:a.b.c.d) as IPv4, and the other way round; others as
  // they are.
  [[nodiscard]] SocketName as_version_4() const;
  [[nodiscard]] SocketName as_version_6() const;
  // As a socket of AF_INET or AF_INET6 has it; 0.0.0.0 for what no address of IPv4 stands for.
  [[nodiscard]] SocketName as_family(std::uint16_t wanted) const;
};

} // namespace guest::linux
