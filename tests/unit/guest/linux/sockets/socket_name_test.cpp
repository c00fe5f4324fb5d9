// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/socket_name.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using guest::linux::Or;
using guest::linux::SocketName;

template <typename Address> Or<SocketName> name_of(const Address& address, std::size_t bytes) {
  return SocketName::from(std::as_bytes(std::span(&address, 1)).first(bytes));
}

SocketName internet(int family, const char* text, std::uint16_t port) {
  SocketName name = SocketName::of({.family = static_cast<std::uint16_t>(family), .port = port});
  REQUIRE(::inet_pton(family, text, name.internet.address) == 1);
  return name;
}

SocketName unix_name(std::string_view path, std::size_t more = 0) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto name = name_of(address, offsetof(sockaddr_un, sun_path) + path.size() + more);
  REQUIRE(name.has_value());
  return *name;
}

} // namespace

TEST_CASE("socket name: what bind gives comes back from getsockname") {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(6379);
  four.sin_addr.s_addr = htonl(0x7f000001);
  const auto name = name_of(four, sizeof four);
  REQUIRE(name.has_value());
  CHECK(name->port() == 6379);
  CHECK(name->is_loopback());
  CHECK(name->bytes().size() == sizeof four);
  CHECK(std::memcmp(name->bytes().data(), &four, sizeof four) == 0);

  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(80);
  six.sin6_scope_id = 3;
  six.sin6_addr = in6addr_loopback;
  const auto other = name_of(six, sizeof six);
  REQUIRE(other.has_value());
  CHECK(other->is_loopback());
  CHECK(std::memcmp(other->bytes().data(), &six, sizeof six) == 0);
}

TEST_CASE("socket name: what is too short or of no family that there is") {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  CHECK(name_of(six, 1).error() == EINVAL);
  CHECK(name_of(six, 23).error() == EINVAL);
  CHECK(name_of(six, 24).has_value()); // without a scope, as once
  six.sin6_family = AF_INET;
  CHECK(name_of(six, 15).error() == EINVAL);
  CHECK(name_of(six, 16).has_value());
  six.sin6_family = AF_NETLINK;
  CHECK(name_of(six, sizeof six).error() == EAFNOSUPPORT);
  sockaddr_storage long_one{};
  long_one.ss_family = AF_UNIX;
  CHECK(name_of(long_one, sizeof(sockaddr_un) + 1).error() == EINVAL);
}

TEST_CASE(
    "socket name: a path ends with its NUL or with the address, an abstract name has all bytes") {
  CHECK(unix_name("/tmp/s").unix_name == unix_name("/tmp/s", 1).unix_name);
  CHECK(unix_name("/tmp/s").is_path());
  CHECK(unix_name("/tmp/s").bytes().size() == 2 + 7);
  const std::string_view abstract("\0name\0", 6);
  CHECK_FALSE(unix_name(abstract).is_path());
  CHECK(unix_name(abstract).unix_name.size() == 6);
  CHECK(unix_name(abstract).bytes().size() == 2 + 6);
  CHECK(unix_name("").unix_name.empty());
  const std::string whole(108, 'x'); // without a NUL at all
  CHECK(unix_name(whole).unix_name.size() == 108);
}

TEST_CASE("socket name: addresses of IPv4 as IPv6 has them, and back") {
  const SocketName four = internet(AF_INET, "192.0.2.7", 9);
  const SocketName six = four.as_version_6();
  CHECK(six.family == AF_INET6);
  CHECK(six.port() == 9);
  CHECK(six.is_same_host(internet(AF_INET6, "::ffff:192.0.2.7", 9)));
  CHECK(six.is_same_host(four));
  CHECK(six.as_version_4().bytes() == four.bytes());
  CHECK(internet(AF_INET6, "::1", 9).as_version_4().family == AF_INET6);
  CHECK_FALSE(internet(AF_INET6, "::1", 9).is_same_host(internet(AF_INET, "127.0.0.1", 9)));
  for (const auto* const any : {"::", "::ffff:0.0.0.0"}) {
    CHECK(internet(AF_INET6, any, 9).is_any());
  }
  CHECK(internet(AF_INET, "0.0.0.0", 9).is_any());
  CHECK_FALSE(four.is_any());
  CHECK(internet(AF_INET, "127.9.8.7", 1).is_loopback());
  CHECK(internet(AF_INET6, "::ffff:127.0.0.1", 1).is_loopback());
  CHECK_FALSE(internet(AF_INET6, "::2", 1).is_loopback());
}
