// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_calls.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/socket_guest.hpp"

using namespace test_support; // NOLINT(google-build-using-namespace)
using abi::SocketOption;

TEST_CASE("socket calls: connecting, refused and accepted") {
  OutsideServer server;
  StartedSocketGuest guest(server.port());
  const std::uint32_t socket = SocketGuest::number(guest.connect(loopback(server.port())));
  guest.wait_for(socket, out);
  CHECK(guest.ready(socket) == out);
  CHECK(guest.on(SocketOperation::error, socket) == 0);
  const Outside accepted = server.accept();
  CHECK(guest.send(socket, "hi") == 2);
  CHECK(accepted.receive(100) == "hi");
  server.close();
  const CallResult refused = guest.connect(loopback(server.port()));
  if (refused >= 0) { // or the kernel knows at once
    const std::uint32_t failed = SocketGuest::number(refused);
    guest.wait_for(failed, abi::socket_failed);
    CHECK(guest.on(SocketOperation::error, failed) == ECONNREFUSED);
    CHECK((guest.ready(failed) & abi::socket_failed) == 0);
  } else {
    CHECK(refused == -ECONNREFUSED);
  }
}

TEST_CASE("socket calls: nothing is reached but what is allowed, address and port") {
  const OutsideServer server;
  const OutsideServer other;
  StartedSocketGuest guest(server.port());
  CHECK(guest.connect(loopback(other.port())) == -EACCES);
  CHECK(guest.connect(loopback(0)) == -EACCES);
  abi::SocketAddress end = loopback(server.port());
  end.address[3] = 2;
  CHECK(guest.connect(end) == -EACCES);
  end.address[0] = end.address[3] = 0; // "this machine"
  CHECK(guest.connect(end) == -EACCES);
  abi::SocketAddress mapped{.family = AF_INET6, .port = server.port()};
  mapped.address[10] = mapped.address[11] = 0xff;
  mapped.address[12] = 127;
  mapped.address[15] = 1;
  CHECK(guest.connect(mapped) == -EACCES);
  mapped = {.family = AF_INET6, .port = server.port()};
  mapped.address[15] = 1;
  CHECK(guest.connect(mapped) == -EACCES);
  for (const unsigned family : {0U, 1U, 3U, 17U, 0xffffU}) {
    end = loopback(server.port());
    end.family = static_cast<std::uint16_t>(family);
    CHECK(guest.connect(end) == -EAFNOSUPPORT);
  }
  for (const std::int64_t port : {0, 1, 80, guest_port - 1, 65535}) {
    CHECK(guest.on(SocketOperation::listen, 0, 1, port) == -EACCES);
  }
  for (const std::int64_t port : {-1L, 65536L, 65536L + guest_port, INT64_MAX}) {
    CHECK(guest.on(SocketOperation::listen, 0, 1, port) == -EINVAL);
  }
  // What is behind the address's four bytes does not count.
  end = loopback(server.port());
  end.address[9] = 9;
  CHECK(guest.connect(end) >= 0);
}

TEST_CASE("socket calls: clients are refused once nobody listens, until somebody does again") {
  StartedSocketGuest guest;
  for (unsigned round = 0; round < 3; ++round) {
    const std::uint32_t listener = guest.listen();
    CHECK(guest.on(SocketOperation::listen, 0, 1, guest_port) == -EADDRINUSE);
    const auto [client, socket] = guest.connected(listener);
    const Outside waiting = Outside::connected(guest.host_port()); // and is not accepted
    CHECK(waiting.valid());
    if (round == 1) {
      CHECK(guest.on(SocketOperation::shutdown, listener, SHUT_RD) == 0);
      CHECK(guest.accept(listener) == -EINVAL);
      CHECK(guest.ready(listener) == (out | abi::socket_hung_up));
      CHECK(guest.on(SocketOperation::shutdown, listener, SHUT_RD) == -ENOTCONN);
    } else {
      CHECK(guest.on(SocketOperation::close, listener) == 0);
    }
    CHECK_FALSE(Outside::connected(guest.host_port()).valid());
    CHECK(waiting.receive(1) == "error " + std::to_string(ECONNRESET));
    client.send("stays");
    guest.wait_for(socket, in);
    CHECK(guest.text(guest.receive(socket, 100)) == "stays");
  }
}

TEST_CASE("socket calls: a listener takes what comes to each of its host's ports") {
  StartedSocketGuest guest;
  CHECK_FALSE(Outside::connected(guest.other_end()).valid());
  const std::uint32_t listener = guest.listen();
  const Outside first = Outside::connected(guest.other_end());
  guest.wait_for(listener, in);
  const Outside second = Outside::connected(guest.host_port());
  const Outside third = Outside::connected(guest.other_end());
  for (unsigned left = 3; left > 0; --left) {
    guest.wait_for(listener, in);
    CHECK(guest.accept(listener) >= 0);
  }
  CHECK(guest.accept(listener) == -EAGAIN);
  CHECK(guest.ready(listener) == 0);
  CHECK(guest.on(SocketOperation::close, listener) == 0);
  CHECK_FALSE(Outside::connected(guest.other_end()).valid());
}

TEST_CASE("socket calls: a listener that was shut down and one that took its place are two") {
  StartedSocketGuest guest;
  const std::uint32_t first = guest.listen();
  CHECK(guest.on(SocketOperation::shutdown, first, SHUT_RDWR) == 0);
  const std::uint32_t second = guest.listen();
  CHECK(guest.on(SocketOperation::close, first) == 0);
  CHECK(guest.connected(second).first.valid());
}

TEST_CASE("socket calls: what happened to a number's last owner is not the next one's") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  auto [client, socket] = guest.connected(listener);
  client.send("late");
  client.reset();
  // Its events are there, and not taken.
  CHECK(guest.on(SocketOperation::close, socket) == 0);
  const Outside next = Outside::connected(guest.host_port());
  while (guest.accept(listener) == -EAGAIN) {
  }
  CHECK(guest.ready(socket) == out); // the same number
  guest.take_all();
  CHECK(guest.ready(socket) == out);
  CHECK(guest.receive(socket, 100) == -EAGAIN);
  next.send("mine");
  guest.wait_for(socket, in);
  CHECK(guest.text(guest.receive(socket, 100)) == "mine");
}

TEST_CASE("socket calls: who waits is interrupted once, by a change after that") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  CHECK(guest.interrupts == 0);
  guest.board().waits = 1;
  guest.take_all();
  CHECK(guest.interrupts == 0);
  client.send("1");
  guest.wait_for(socket, in);
  CHECK(guest.interrupts == 1);
  CHECK(guest.board().waits == 0);
  CHECK(guest.receive(socket, 100) == 1);
  client.send("2");
  guest.wait_for(socket, in);
  CHECK(guest.interrupts == 1);
}

TEST_CASE("socket calls: what a guest writes to its board changes the board alone") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  const std::uint32_t changes = guest.state(socket).changes;
  std::memset(static_cast<void*>(&guest.board()), 0xff, sizeof(abi::SocketBoard));
  client.send("x");
  while (guest.on(SocketOperation::readable_bytes, socket) != 1) {
  }
  guest.take_all();
  CHECK(guest.ready(socket) == (in | out));
  CHECK(guest.state(socket).changes - changes < 10);
  CHECK(guest.text(guest.receive(socket, 100)) == "x");
  CHECK(guest.ready(socket) == out);
}

TEST_CASE("socket calls: options are the connection's, or what a listener passes on") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  const auto set = [&](std::uint32_t socket, SocketOption option, std::int64_t value) {
    return guest.on(SocketOperation::set_option, socket, static_cast<std::uint32_t>(option), value);
  };
  const auto get = [&](std::uint32_t socket, SocketOption option) {
    return guest.on(SocketOperation::get_option, socket, static_cast<std::uint32_t>(option));
  };
  CHECK(get(listener, SocketOption::keep_alive) == 0);
  CHECK(set(listener, SocketOption::keep_alive, 1) == 0);
  CHECK(set(listener, SocketOption::keep_idle, 77) == 0);
  CHECK(set(listener, SocketOption::keep_idle, 99) == 0);
  CHECK(get(listener, SocketOption::keep_idle) == 99);
  CHECK(set(listener, SocketOption::linger, 0) == 0);
  {
    const auto [client, socket] = guest.connected(listener);
    CHECK(get(socket, SocketOption::keep_alive) == 1);
    CHECK(get(socket, SocketOption::keep_idle) == 99);
    CHECK(get(socket, SocketOption::linger) == 0);
    CHECK(set(socket, SocketOption::no_delay, 1) == 0);
    CHECK(get(socket, SocketOption::no_delay) == 1);
    CHECK(set(socket, SocketOption::send_bytes, 65536) == 0);
    CHECK(get(socket, SocketOption::send_bytes) == 65536);
    CHECK(set(socket, SocketOption{99}, 1) == -EINVAL);
    CHECK(get(socket, SocketOption{99}) == -EINVAL);
    CHECK(set(socket, SocketOption::no_delay, -1) == -EINVAL);
    CHECK(set(socket, SocketOption::no_delay, INT64_MAX) == -EINVAL);
    CHECK(guest.on(SocketOperation::close, socket) == 0); // throws away, as it lingers for 0 s
    CHECK(client.receive(1) == "error " + std::to_string(ECONNRESET));
  }
  CHECK(guest.on(SocketOperation::close, listener) == 0);
  const std::uint32_t again = guest.listen();
  const auto [client, socket] = guest.connected(again);
  CHECK(get(socket, SocketOption::keep_alive) == 0);
  CHECK(get(socket, SocketOption::linger) == -1);
}

// A close that waits as SO_LINGER says would hold up every other call, and the vmm's end.

TEST_CASE("socket calls: nonsense is answered, and nothing is lost by it") {
  SocketGuest guest;
  const SocketCall start{.operation = SocketOperation::start,
                         .buffer_gpa = board_gpa,
                         .buffer_bytes = sizeof(abi::SocketBoard)};
  CHECK(guest.on(SocketOperation::listen, 0, 1, guest_port) == -EINVAL); // no board yet
  SocketCall bad = start;
  bad.buffer_gpa += 8;
  CHECK(guest.call(bad) == -EINVAL);
  bad = start;
  --bad.buffer_bytes;
  CHECK(guest.call(bad) == -EINVAL);
  bad = start;
  bad.buffer_bytes = 0;
  CHECK(guest.call(bad) == -EINVAL);
  bad = start;
  bad.buffer_gpa = 16 * mib - 64;
  CHECK(guest.call(bad) == -EFAULT);
  CHECK(guest.call(start) == 0);
  CHECK(guest.call(start) == -EINVAL); // once

  const std::uint32_t listener = guest.listen();
  const auto [client, socket] = guest.connected(listener);
  client.send("kept");
  guest.wait_for(socket, in);
  for (const std::uint32_t number : {listener + 100, abi::max_sockets, ~std::uint32_t{0}}) {
    for (std::uint32_t operation = 5; operation <= 13; ++operation) {
      CHECK(guest.on(SocketOperation{operation}, number) == -EBADF);
    }
  }
  for (const std::uint32_t operation : {0U, 14U, ~0U}) {
    CHECK(guest.on(SocketOperation{operation}, socket) == -ENOSYS);
    CHECK(guest.on(SocketOperation{operation}, listener) == -ENOSYS);
  }
  CHECK(guest.receive(socket, 10, 8) == -EINVAL);
  CHECK(guest.receive(socket, abi::socket_transfer_bytes + 1) == -EINVAL);
  SocketCall receive{.operation = SocketOperation::receive,
                     .socket = socket,
                     .buffer_gpa = 16 * mib,
                     .buffer_bytes = 10};
  CHECK(guest.call(receive) == -EFAULT);
  receive.buffer_gpa = ~std::uint64_t{0} - 4;
  CHECK(guest.call(receive) == -EFAULT);
  CHECK(guest.on(SocketOperation::connect, 0) == -EINVAL); // no address
  CHECK(guest.call({.operation = SocketOperation::name,
                    .socket = socket,
                    .buffer_gpa = buffer_gpa,
                    .buffer_bytes = sizeof(abi::SocketAddress) - 1}) == -EINVAL);
  CHECK(guest.accept(socket) == -EINVAL);
  CHECK(guest.send(listener, "x") == -EPIPE);
  CHECK(guest.receive(listener, 1) == -ENOTCONN);
  // A buffer that is too small for the address takes no connection away.
  const Outside second = Outside::connected(guest.host_port());
  guest.wait_for(listener, in);
  CHECK(guest.call({.operation = SocketOperation::accept,
                    .socket = listener,
                    .buffer_gpa = buffer_gpa,
                    .buffer_bytes = 4}) == -EINVAL);
  CHECK(guest.on(SocketOperation::accept, listener) >= 0); // without one
  CHECK(guest.text(guest.receive(socket, 100)) == "kept");
}

TEST_CASE("socket calls: a host without descriptors loses nothing, and the table has an end") {
  StartedSocketGuest guest;
  const std::uint32_t listener = guest.listen();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const Outside first = Outside::connected(guest.host_port());
  guest.wait_for(listener, in);
  rlimit none = before;
  none.rlim_cur = 3;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  CHECK(guest.accept(listener) == -EMFILE);
  CHECK(guest.ready(listener) == in);
  CHECK(guest.connect(loopback(1)) == -EMFILE);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(guest.accept(listener) >= 0);
  // The clients' ends are descriptors of this process, too.
  rlimit many = before;
  many.rlim_cur = std::min<rlim_t>(before.rlim_max, 4096);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &many) == 0);
  if (many.rlim_cur >= 2 * abi::max_sockets + 100) {
    std::vector<Outside> clients;
    for (CallResult result = 0; result >= 0;) {
      clients.push_back(Outside::connected(guest.host_port()));
      REQUIRE(clients.back().valid());
      guest.wait_for(listener, in);
      result = guest.accept(listener);
      REQUIRE(clients.size() < abi::max_sockets);
      CHECK((result >= 0 || result == -EMFILE));
    }
    CHECK(clients.size() == abi::max_sockets - 1); // a listener, the first, and one too many
    CHECK(guest.on(SocketOperation::close, 5) == 0);
    CHECK(guest.accept(listener) == 5);
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}
