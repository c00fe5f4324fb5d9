// SPDX-License-Identifier: MIT
#include "vmm/sockets/allowed_network.hpp"

#include <sys/socket.h>

#include <string>

#include <doctest/doctest.h>

#include "vmm/base/unique_fd.hpp"
#include "vmm/sockets/socket_address.hpp"

using namespace vmm;

namespace {

abi::SocketAddress loopback(std::uint16_t port, std::uint8_t last = 1) {
  abi::SocketAddress address{.family = AF_INET, .port = port};
  address.address[0] = 127;
  address.address[3] = last;
  return address;
}

ListenRequest listen_at(const abi::SocketAddress& address, std::uint16_t guest_port = 80) {
  return {text_of(address), address, guest_port};
}

Result<AllowedNetwork> open(std::vector<ListenRequest> listens,
                            std::vector<ConnectRequest> connects = {}) {
  return AllowedNetwork::open({std::move(listens), std::move(connects)});
}

// Whether somebody listens there.
bool answers(const abi::SocketAddress& address) {
  const UniqueFd fd(::socket(address.family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const KernelAddress kernel = kernel_address(address).value();
  return ::connect(fd.get(), kernel.generic(), kernel.bytes) == 0;
}

} // namespace

TEST_CASE("allowed network: a port is this process's from the beginning, whether open or not") {
  const auto first = open({listen_at(loopback(0))});
  REQUIRE_MESSAGE(first.has_value(), first.error().message);
  const HostPort& port = first->ports().front();
  CHECK(port.was_chosen());
  CHECK(port.address().port != 0);
  for (unsigned round = 0; round < 3; ++round) {
    CHECK_FALSE(answers(port.address()));
    const auto second = open({listen_at(port.address())});
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().error_class == ErrorClass::user);
    CHECK(second.error().message.find("Address already in use; end whoever") != std::string::npos);
    CHECK(port.listen(5) == 0);
    CHECK(answers(port.address()));
    CHECK_FALSE(open({listen_at(port.address())}).has_value());
    port.refuse();
  }
}

TEST_CASE("allowed network: a port is free again afterwards, also if it had connections") {
  abi::SocketAddress address;
  {
    const auto network = open({listen_at(loopback(0))});
    REQUIRE(network);
    address = network->ports().front().address();
    CHECK(network->ports().front().listen(5) == 0);
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const KernelAddress kernel = kernel_address(address).value();
    REQUIRE(::connect(client.get(), kernel.generic(), kernel.bytes) == 0);
    // Whoever closes first keeps the port busy for a minute.
    const UniqueFd served(::accept4(network->ports().front().fd(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(served.valid());
    REQUIRE(::shutdown(served.get(), SHUT_WR) == 0);
    REQUIRE(::shutdown(client.get(), SHUT_WR) == 0);
  }
  const auto again = open({listen_at(address)});
  CHECK_MESSAGE(again.has_value(), again.error().message);
}

TEST_CASE("allowed network: the same port of two addresses is two ports") {
  const auto first = open({listen_at(loopback(0))});
  REQUIRE(first);
  const std::uint16_t port = first->ports().front().address().port;
  CHECK(open({listen_at(loopback(port, 2))}).has_value());
  abi::SocketAddress everywhere{.family = AF_INET, .port = port};
  CHECK_FALSE(open({listen_at(everywhere)}).has_value());
}

TEST_CASE("allowed network: what cannot be had is told in one line") {
  abi::SocketAddress foreign{.family = AF_INET, .port = 0};
  foreign.address[0] = 192;
  foreign.address[2] = 2; // 192.0.2.1: documentation's
  foreign.address[3] = 1;
  const auto network = open({listen_at(foreign)});
  REQUIRE_FALSE(network.has_value());
  CHECK(network.error().message.find("HOST must be an address of this machine") !=
        std::string::npos);
  const auto nowhere = open({}, {{"-:80", "-", 80}});
  REQUIRE_FALSE(nowhere.has_value());
  CHECK(nowhere.error().error_class == ErrorClass::user);
  CHECK(nowhere.error().message.starts_with("--connect -:80: \"-\": "));
}

TEST_CASE("allowed network: ends are what names meant at the start, by address and port") {
  const auto network = open({}, {{"localhost:80", "localhost", 80}, {"[::1]:81", "::1", 81}});
  REQUIRE_MESSAGE(network.has_value(), network.error().message);
  CHECK(network->may_connect(loopback(80)));
  CHECK_FALSE(network->may_connect(loopback(81)));
  CHECK_FALSE(network->may_connect(loopback(80, 2)));
  abi::SocketAddress six{.family = AF_INET6, .port = 81};
  six.address[15] = 1;
  CHECK(network->may_connect(six));
  six.scope = 1;
  CHECK_FALSE(network->may_connect(six));
  CHECK_FALSE(network->may_connect({}));
  CHECK_FALSE(open({})->may_connect(loopback(80)));
}
