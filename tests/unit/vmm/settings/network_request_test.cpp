// SPDX-License-Identifier: MIT
#include "vmm/settings/network_request.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/no_file.hpp"
#include "vmm/settings/config.hpp"

using namespace vmm;

namespace {

std::string refuse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"vmm", "guest.bin"});
  const auto parsed = parse_command_line(arguments, test_support::no_file);
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().error_class == ErrorClass::user);
  CHECK(parsed.error().message.find('\n') == std::string::npos);
  return parsed.error().message;
}

using Bytes = std::array<std::uint8_t, 4>;
Bytes first_bytes(const abi::SocketAddress& address) {
  return {address.address[0], address.address[1], address.address[2], address.address[3]};
}

} // namespace

TEST_CASE("network request: a port to listen at, of which host, and for which of the guest's") {
  struct Good {
    const char* text;
    Bytes host;
    std::uint16_t port;
    std::uint16_t guest_port;
  };
  for (const Good& good : {Good{"6379", {127, 0, 0, 1}, 6379, 6379},
                           {"8080:80", {127, 0, 0, 1}, 8080, 80},
                           {"0:80", {127, 0, 0, 1}, 0, 80},
                           {"0.0.0.0:6379", {0, 0, 0, 0}, 6379, 6379},
                           {"10.1.2.3:8080:80", {10, 1, 2, 3}, 8080, 80},
                           {"10.1.2.3:0:65535", {10, 1, 2, 3}, 0, 65535},
                           {"1:1", {127, 0, 0, 1}, 1, 1}}) {
    CAPTURE(good.text);
    const auto parsed = parse_listen("--listen", good.text);
    REQUIRE(parsed.has_value());
    CHECK(parsed->host.family == AF_INET);
    CHECK(first_bytes(parsed->host) == good.host);
    CHECK(parsed->host.port == good.port);
    CHECK(parsed->guest_port == good.guest_port);
  }
  const auto six = parse_listen("--listen", "[::1]:8080:80");
  REQUIRE(six.has_value());
  CHECK(six->host.family == AF_INET6);
  CHECK(six->host.address[15] == 1);
  CHECK(six->host.port == 8080);
  CHECK(six->guest_port == 80);
}

TEST_CASE("network request: anything else to listen at is refused") {
  for (const char* const text : {"",
                                 ":",
                                 "::",
                                 "0",
                                 "x",
                                 "65536",
                                 "-1",
                                 "+1",
                                 " 1",
                                 "1 ",
                                 "0x50",
                                 "80:",
                                 ":80",
                                 "80:0",
                                 "80:65536",
                                 "80:x",
                                 "0:0",
                                 "1:2:3",
                                 "1:2:3:4",
                                 "127.0.0.1",
                                 "127.0.0.1:",
                                 "127.0.0.1:x",
                                 "127.0.0.1:80:",
                                 "127.0.0.1:80:80:80",
                                 "127.0.0:80:80",
                                 "127.0.0.256:80",
                                 "localhost:80",
                                 "::1:80",
                                 "[::1]",
                                 "[::1]80",
                                 "[::1]:",
                                 "[::1:80",
                                 "::1]:80",
                                 "[]:80",
                                 "[localhost]:80",
                                 "[::1]:0",
                                 "[::1%lo]:80",
                                 "*:80",
                                 "80/tcp",
                                 "tcp:80"}) {
    CAPTURE(text);
    const auto parsed = parse_listen("--listen", text);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().message.starts_with("--listen \""));
  }
}

TEST_CASE("network request: an end to connect to is a host and a port") {
  const auto name = parse_connect("--connect", "example.org:443");
  REQUIRE(name.has_value());
  CHECK(name->host == "example.org");
  CHECK(name->port == 443);
  const auto six = parse_connect("--connect", "[2001:db8::1]:1");
  REQUIRE(six.has_value());
  CHECK(six->host == "2001:db8::1");
  for (const char* const text :
       {"", ":", "443", "host", "host:", ":443", "host:0", "host:65536", "host:-1", "host:http",
        "host:1:2", "::1:443", "[::1]", "[]:443", "[::1]443", "host: 1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_connect("--connect", text).has_value());
  }
}

TEST_CASE("network request: no end is given twice, and none without a program") {
  CHECK(refuse({"--listen", "80", "--listen", "127.0.0.1:80:81", "--", "a"})
            .starts_with("--listen 127.0.0.1:80:81: that port is given twice"));
  CHECK(refuse({"--connect", "a:1", "--connect", "b:1", "--connect", "a:1", "--", "a"})
            .starts_with("--connect a:1: given twice"));
  CHECK(refuse({"--listen", "80"}).starts_with("--listen: is for a program"));
  CHECK(refuse({"--connect", "a:80"}).starts_with("--connect: is for a program"));
  const std::vector<const char*> good{
      "vmm",      "guest.bin",    "--listen",  "0:80", "--listen",  "0:80", "--listen", "[::1]:80",
      "--listen", "127.0.0.2:80", "--connect", "a:1",  "--connect", "a:2",  "--",       "program"};
  const auto parsed = parse_command_line(good, test_support::no_file);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
  CHECK(std::get<Config>(*parsed).network.listens.size() == 4);
  CHECK(std::get<Config>(*parsed).network.connects.size() == 2);
}
