// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/socket_name.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace guest::linux {

namespace {

constexpr std::uint8_t mapped_prefix[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t version_4_bytes = 4;
// RFC 2133 had no scope yet, and Linux still takes it.
constexpr std::size_t least_version_6_bytes = 24;
constexpr std::size_t unix_path = offsetof(sockaddr_un, sun_path);

std::uint16_t swapped(std::uint16_t number) {
  return static_cast<std::uint16_t>(number << 8 | number >> 8);
}

template <typename Address> Address read_as(std::span<const std::byte> bytes) {
  Address address{};
  std::memcpy(&address, bytes.data(), std::min(bytes.size(), sizeof address));
  return address;
}

template <typename Address> std::vector<std::byte> bytes_of(const Address& address) {
  const std::span all = std::as_bytes(std::span(&address, 1));
  return {all.begin(), all.end()};
}

} // namespace

Or<SocketName> SocketName::from(std::span<const std::byte> address) {
  if (address.size() < sizeof(sa_family_t)) {
    return std::unexpected(EINVAL);
  }
  SocketName name;
  name.family = read_as<sa_family_t>(address);
  name.internet.family = name.family;
  switch (name.family) {
  case AF_UNSPEC:
    return name;
  case AF_INET: {
    if (address.size() < sizeof(sockaddr_in)) {
      return std::unexpected(EINVAL);
    }
    const auto is = read_as<sockaddr_in>(address);
    name.internet.port = swapped(is.sin_port);
    std::memcpy(name.internet.address, &is.sin_addr, version_4_bytes);
    return name;
  }
  case AF_INET6: {
    if (address.size() < least_version_6_bytes) {
      return std::unexpected(EINVAL);
    }
    const auto is = read_as<sockaddr_in6>(address);
    name.internet.port = swapped(is.sin6_port);
    name.internet.scope = is.sin6_scope_id;
    std::memcpy(name.internet.address, &is.sin6_addr, sizeof name.internet.address);
    return name;
  }
  case AF_UNIX: {
    if (address.size() > sizeof(sockaddr_un)) {
      return std::unexpected(EINVAL);
    }
    const auto* const text = reinterpret_cast<const char*>(address.data());
    name.unix_name.assign(text + std::min(unix_path, address.size()), text + address.size());
    if (name.is_path()) {
      name.unix_name.erase(std::ranges::find(name.unix_name, '\0'), name.unix_name.end());
    }
    return name;
  }
  default:
    return std::unexpected(EAFNOSUPPORT);
  }
}

std::vector<std::byte> SocketName::bytes() const {
  switch (family) {
  case AF_INET: {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = swapped(internet.port);
    std::memcpy(&address.sin_addr, internet.address, version_4_bytes);
    return bytes_of(address);
  }
  case AF_INET6: {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = swapped(internet.port);
    address.sin6_scope_id = internet.scope;
    std::memcpy(&address.sin6_addr, internet.address, sizeof internet.address);
    return bytes_of(address);
  }
  default: {
    std::vector<std::byte> all = bytes_of(family);
    std::ranges::transform(unix_name, std::back_inserter(all),
                           [](char letter) { return static_cast<std::byte>(letter); });
    if (is_path()) {
      all.push_back(std::byte{0}); // as Linux counts it
    }
    return all;
  }
  }
}

// ---- addresses ---------------------------------------------------------------------------------

SocketName SocketName::as_version_4() const {
  if (family != AF_INET6 ||
      !std::ranges::equal(std::span(internet.address).first(12), mapped_prefix)) {
    return *this;
  }
  SocketName name = of({.family = AF_INET, .port = internet.port});
  std::copy_n(std::begin(internet.address) + sizeof mapped_prefix, version_4_bytes,
              std::begin(name.internet.address));
  return name;
}

SocketName SocketName::as_version_6() const {
  if (family != AF_INET) {
    return *this;
  }
  SocketName name = of({.family = AF_INET6, .port = internet.port});
  std::ranges::copy(mapped_prefix, std::begin(name.internet.address));
  std::copy_n(std::begin(internet.address), version_4_bytes,
              std::begin(name.internet.address) + sizeof mapped_prefix);
  return name;
}

SocketName SocketName::as_family(std::uint16_t wanted) const {
  if (wanted == AF_INET6) {
    return as_version_6();
  }
  const SocketName plain = as_version_4();
  return plain.family == AF_INET ? plain : of({.family = AF_INET, .port = plain.port()});
}

bool SocketName::is_any() const {
  const SocketName plain = as_version_4();
  return std::ranges::all_of(plain.internet.address, [](std::uint8_t byte) { return byte == 0; });
}

bool SocketName::is_loopback() const {
  constexpr std::uint8_t loopback_network = 127;
  constexpr std::uint8_t loopback_6[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const SocketName plain = as_version_4();
  return plain.family == AF_INET ? plain.internet.address[0] == loopback_network
                                 : std::ranges::equal(plain.internet.address, loopback_6);
}

bool SocketName::is_same_host(const SocketName& other) const {
  const SocketName one = as_version_4();
  const SocketName two = other.as_version_4();
  return one.family == two.family && std::ranges::equal(one.internet.address, two.internet.address);
}

} // namespace guest::linux
