// SPDX-License-Identifier: MIT
// Socket calls on one connection.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/socket_guest.hpp"

using namespace test_support; // NOLINT(google-build-using-namespace)
using abi::SocketOption;

TEST_CASE("socket calls: a connection from outside, there and back") {
  StartedSocketGuest guest;
  CHECK_FALSE(Outside::connected(guest.host_port()).valid()); // refused: nobody listens
  const std::uint32_t listener = guest.listen();
  CHECK(guest.ready(listener) == 0);
  CHECK(guest.accept(listener) == -EAGAIN);
  const Outside client = Outside::connected(guest.host_port());
  guest.wait_for(listener, in);
  const std::uint32_t socket = SocketGuest::number(guest.accept(listener));
  CHECK(socket != listener);
  CHECK(guest.address().family == AF_INET);
  CHECK(text_of(guest.address()).starts_with("127.0.0.1:"));
  CHECK(guest.ready(listener) == 0); // the only one
  CHECK(guest.ready(socket) == out);
  client.send("hello");
  guest.wait_for(socket, in);
  CHECK(guest.on(SocketOperation::readable_bytes, socket) == 5);
  CHECK(guest.text(guest.receive(socket, 100, abi::socket_peek)) == "hello");
  CHECK(guest.text(guest.receive(socket, 100)) == "hello");
  CHECK(guest.send(socket, "world") == 5);
  CHECK(client.receive(100) == "world");
  // The guest sees the port that it listens at.
  const SocketCall name{.operation = SocketOperation::name,
                        .socket = socket,
                        .buffer_gpa = buffer_gpa,
                        .buffer_bytes = sizeof(abi::SocketAddress)};
  CHECK(guest.call(name) == 0);
  CHECK(text_of(guest.address()) == "127.0.0.1:6379");
  SocketCall peer = name;
  peer.flags = abi::socket_peer;
  CHECK(guest.call(peer) == 0);
  CHECK(guest.address().port != guest_port);
}

TEST_CASE("socket calls: what is readable is exact after each call, and every edge counts") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  for (const std::uint64_t bytes : {std::uint64_t{5}, std::uint64_t{100}}) { // exactly all; more
    const std::uint32_t changes = guest.state(socket).changes;
    client.send("12345");
    guest.wait_for(socket, in);
    CHECK(guest.state(socket).changes > changes);
    CHECK(guest.receive(socket, bytes) == 5);
    CHECK(guest.ready(socket) == out);
    CHECK(guest.receive(socket, bytes) == -EAGAIN);
    CHECK(guest.ready(socket) == out);
  }
  client.send("12345");
  guest.wait_for(socket, in);
  CHECK(guest.receive(socket, 2) == 2);
  CHECK(guest.ready(socket) == (in | out));
  CHECK(guest.receive(socket, 0) == 0);
  CHECK(guest.ready(socket) == (in | out));
  // Already set, and more comes.
  const std::uint32_t changes = guest.state(socket).changes;
  client.send("6");
  while (guest.on(SocketOperation::readable_bytes, socket) != 4) {
  }
  guest.take_all();
  CHECK(guest.state(socket).changes > changes);
  CHECK(guest.text(guest.receive(socket, 100)) == "3456");
  // What comes between the read and its answer is not forgotten: an edge that nobody has taken.
  client.send("7");
  while (guest.on(SocketOperation::readable_bytes, socket) != 1) {
  }
  CHECK(guest.text(guest.receive(socket, 100)) == "7");
  client.send("8");
  guest.wait_for(socket, in);
  CHECK(guest.text(guest.receive(socket, 100)) == "8");
}

TEST_CASE("socket calls: out-of-band data end what is received, not what is readable") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  client.send("ab");
  REQUIRE(::send(client.fd(), "!", 1, MSG_OOB) == 1);
  client.send("cd");
  while (guest.on(SocketOperation::readable_bytes, socket) < 2) {
  }
  guest.wait_for(socket, in);
  guest.take_all();
  CHECK(guest.text(guest.receive(socket, 100)) == "ab");
  guest.take_all();
  CHECK(guest.ready(socket) == (in | out));
  CHECK(guest.text(guest.receive(socket, 100)) == "cd");
  CHECK(guest.ready(socket) == out);
}

TEST_CASE("socket calls: a reader that does not read stops the sender, until it does") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  const std::string block(256 * 1024, 'x');
  std::size_t sent = 0;
  CallResult put = 0;
  for (; put >= 0; put = guest.send(socket, block)) {
    sent += static_cast<std::size_t>(put);
    REQUIRE(sent < 64 * mib);
  }
  CHECK(put == -EAGAIN);
  CHECK((guest.ready(socket) & out) == 0);
  guest.take_all();
  const std::uint32_t changes = guest.state(socket).changes;
  std::size_t got = 0;
  while (got < sent) {
    got += client.receive(block.size()).size();
  }
  guest.wait_for(socket, out);
  CHECK(guest.state(socket).changes > changes);
}

TEST_CASE("socket calls: either side may finish first, and the other goes on") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  {
    const auto [client, socket] = guest.connected(listener);
    client.send("last");
    client.finish();
    guest.wait_for(socket, in | abi::socket_ended);
    CHECK((guest.ready(socket) & abi::socket_hung_up) == 0);
    CHECK(guest.text(guest.receive(socket, 100)) == "last");
    CHECK((guest.ready(socket) & in) != 0); // the end is there to be read
    CHECK(guest.receive(socket, 100) == 0);
    CHECK(guest.receive(socket, 100) == 0);
    CHECK((guest.ready(socket) & (in | out)) == (in | out));
    CHECK(guest.send(socket, "still") == 5);
    CHECK(client.receive(100) == "still");
    CHECK(guest.on(SocketOperation::shutdown, socket, SHUT_WR) == 0);
    CHECK((guest.ready(socket) & abi::socket_hung_up) != 0);
    CHECK(client.receive(100).empty());
    CHECK(guest.send(socket, "more") == -EPIPE); // and no signal
  }
  {
    const auto [client, socket] = guest.connected(listener);
    CHECK(guest.on(SocketOperation::shutdown, socket, SHUT_WR) == 0);
    CHECK(client.receive(100).empty());
    client.send("answer");
    guest.wait_for(socket, in);
    CHECK(guest.text(guest.receive(socket, 100)) == "answer");
    CHECK((guest.ready(socket) & in) == 0);
    CHECK(guest.on(SocketOperation::shutdown, socket, 3) == -EINVAL);
    CHECK(guest.on(SocketOperation::close, socket) == 0);
    CHECK(guest.on(SocketOperation::shutdown, socket, SHUT_WR) == -EBADF);
    CHECK(guest.ready(socket) == 0);
  }
}

TEST_CASE("socket calls: a reset is an error once, and the end from then on") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  auto [client, socket] = guest.connected(listener);
  client.reset();
  guest.wait_for(socket, abi::socket_failed | abi::socket_hung_up);
  CHECK(guest.receive(socket, 100) == -ECONNRESET);
  CHECK((guest.ready(socket) & abi::socket_failed) == 0);
  CHECK((guest.ready(socket) & abi::socket_hung_up) != 0);
  CHECK(guest.receive(socket, 100) == 0);
  CHECK(guest.send(socket, "x") == -EPIPE);
  CHECK(guest.on(SocketOperation::error, socket) == 0);
  auto [other, second] = guest.connected(listener);
  other.reset();
  guest.wait_for(second, abi::socket_failed);
  CHECK(guest.on(SocketOperation::error, second) == ECONNRESET);
  CHECK((guest.ready(second) & abi::socket_failed) == 0);
  CHECK(guest.on(SocketOperation::error, second) == 0);
}

TEST_CASE("socket calls: no close waits for a reader") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  const auto linger = static_cast<std::uint32_t>(SocketOption::linger);
  CHECK(guest.on(SocketOperation::set_option, socket, linger, 60) == 0);
  CHECK(guest.on(SocketOperation::get_option, socket, linger) == 60);
  CHECK(guest.on(SocketOperation::set_option, socket, linger, 65536) == -EINVAL);
  const std::string block(1 * mib, 'x');
  while (guest.send(socket, block) > 0) {
  }
  timespec before{};
  timespec after{};
  ::clock_gettime(CLOCK_MONOTONIC, &before);
  CHECK(guest.on(SocketOperation::close, socket) == 0);
  ::clock_gettime(CLOCK_MONOTONIC, &after);
  CHECK(after.tv_sec - before.tv_sec < 30);
  CHECK(client.receive(1) == "x");
}
