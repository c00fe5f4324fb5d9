// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/network.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "guest/linux/sockets/listening_socket.hpp"

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using Operation = abi::SocketOperation;

SocketName address(int family, const char* text, std::uint16_t port) {
  SocketName name = SocketName::of({.family = static_cast<std::uint16_t>(family), .port = port});
  REQUIRE(::inet_pton(family, text, name.internet.address) == 1);
  return name;
}

SocketName abstract_name(std::string_view text) {
  SocketName name;
  name.family = AF_UNIX;
  name.unix_name = to_text(std::string(1, '\0').append(text));
  return name;
}

// A host that says what it is told to say, and keeps count of the numbers that it has given.
class ScriptedHost final : public SocketPort {
 public:
  abi::CallResult perform(const abi::SocketCall& call) override {
    calls.push_back(call);
    if (call.operation == Operation::close) {
      CHECK(open.erase(call.socket) == 1);
      return 0;
    }
    const auto found = answers.find(call.operation);
    if (found == answers.end() || found->second.empty()) {
      return -ENOSYS;
    }
    const abi::CallResult result = found->second.front();
    if (found->second.size() > 1) {
      found->second.pop_front();
    }
    const bool is_new = call.operation == Operation::listen ||
                        call.operation == Operation::accept || call.operation == Operation::connect;
    if (is_new && result >= 0) {
      open.insert(static_cast<std::uint32_t>(result));
    }
    if (call.operation == Operation::name ||
        (call.operation == Operation::accept && call.buffer_bytes != 0 && result >= 0)) {
      std::memcpy(reinterpret_cast<void*>(call.buffer_gpa), &told, sizeof told); // NOLINT
    }
    return result;
  }
  abi::SocketState state(std::uint32_t socket) const override {
    const auto found = states.find(socket);
    return found == states.end() ? abi::SocketState{} : found->second;
  }
  void watch(std::uint32_t socket, std::uint32_t ready) override { watched[socket] = ready; }

  [[nodiscard]] std::size_t count(Operation operation) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        calls, [operation](const auto& call) { return call.operation == operation; }));
  }

  std::map<Operation, std::deque<abi::CallResult>> answers;
  std::map<std::uint32_t, abi::SocketState> states;
  std::map<std::uint32_t, std::uint32_t> watched;
  std::set<std::uint32_t> open;
  std::vector<abi::SocketCall> calls;
  abi::SocketAddress told;
};

struct Fixture {
  explicit Fixture(SocketPort* host = nullptr) : network(host) {}

  std::unique_ptr<Socket> made(int family, int type = SOCK_STREAM) {
    const Or<Socket*> socket =
        network.make(static_cast<std::uint64_t>(family), static_cast<std::uint64_t>(type), 0);
    REQUIRE(socket.has_value());
    return std::unique_ptr<Socket>(*socket);
  }
  int bind(Socket& socket, const SocketName& name) {
    return network.bind(*socket.unconnected(), name);
  }
  std::unique_ptr<Socket> listening(const SocketName& name, std::uint32_t backlog = 5) {
    const auto socket = made(name.family);
    REQUIRE(bind(*socket, name) == 0);
    const Or<Socket*> is = network.listen(*socket->unconnected(), backlog);
    REQUIRE(is.has_value());
    return std::unique_ptr<Socket>(*is);
  }
  Or<std::unique_ptr<Socket>> connected(const SocketName& to) {
    const auto socket = made(to.family);
    const Or<Socket*> is = network.connect(*socket->unconnected(), to);
    return is ? Or<std::unique_ptr<Socket>>(std::unique_ptr<Socket>(*is))
              : std::unexpected(is.error());
  }

  Network network;
};

std::string through(Socket& from, Socket& to, std::string_view text) {
  REQUIRE(from.send(std::as_bytes(std::span(text)), {}, Socket::More::no) == text.size());
  std::string got(100, '\0');
  const auto received = to.receive(std::as_writable_bytes(std::span(got)), Socket::Taking::yes);
  REQUIRE(received.has_value());
  return got.substr(0, received->bytes);
}

} // namespace

TEST_CASE("network: within the guest, both ends know each other by name") {
  Fixture fixture;
  for (const SocketName& name :
       {address(AF_INET, "127.0.0.1", 80), address(AF_INET6, "::1", 80), abstract_name("server")}) {
    const auto listener = fixture.listening(name);
    CHECK(listener->accept().error() == EAGAIN);
    CHECK((*listener->ready_for(abi::file_readable) & abi::file_readable) == 0);
    const std::uint64_t before = listener->arrivals(abi::file_readable);
    auto client = fixture.connected(name);
    REQUIRE(client.has_value());
    CHECK(*listener->ready_for(abi::file_readable) == abi::file_readable);
    CHECK(listener->arrivals(abi::file_readable) != before);
    const std::unique_ptr<Socket> server(listener->accept().value().socket);
    CHECK(server->own_name()->bytes() == name.bytes());
    CHECK((*client)->peer_name()->bytes() == name.bytes());
    CHECK((*client)->own_name()->bytes() == server->peer_name()->bytes());
    CHECK(through(**client, *server, "question") == "question");
    CHECK(through(*server, **client, "answer") == "answer");
  }
}

TEST_CASE(
    "network: who listens at any address is found at each of its family, and at the others'") {
  Fixture fixture;
  const auto listener = fixture.listening(address(AF_INET6, "::", 80));
  for (const SocketName& to : {address(AF_INET, "127.0.0.1", 80), address(AF_INET, "127.7.7.7", 80),
                               address(AF_INET6, "::1", 80), address(AF_INET, "0.0.0.0", 80),
                               address(AF_INET6, "::ffff:127.0.0.1", 80)}) {
    auto client = fixture.connected(to);
    REQUIRE(client.has_value());
    const Socket::Accepted accepted = listener->accept().value();
    const std::unique_ptr<Socket> server(accepted.socket);
    CHECK(server->own_name()->family == AF_INET6);
    CHECK(accepted.peer.family == AF_INET6);
    CHECK(server->peer_name()->family == AF_INET6);
    CHECK((*client)->peer_name()->family == to.family);
    CHECK(server->own_name()->port() == 80);
    CHECK_FALSE(server->own_name()->is_any());
    CHECK_FALSE((*client)->own_name()->is_any());
  }
  CHECK(fixture.connected(address(AF_INET, "127.0.0.1", 81)).error() == ECONNREFUSED);
  CHECK(fixture.connected(address(AF_INET, "192.0.2.1", 80)).error() == ENETUNREACH);
}

TEST_CASE("network: IPV6_V6ONLY leaves IPv4 to others") {
  Fixture fixture;
  const auto six = fixture.made(AF_INET6);
  six->traits().is_version_6_only = true;
  REQUIRE(fixture.bind(*six, address(AF_INET6, "::", 80)) == 0);
  const std::unique_ptr<Socket> listener(fixture.network.listen(*six->unconnected(), 1).value());
  CHECK(fixture.connected(address(AF_INET, "127.0.0.1", 80)).error() == ECONNREFUSED);
  CHECK(fixture.connected(address(AF_INET6, "::1", 80)).has_value());
  const auto four = fixture.made(AF_INET);
  CHECK(fixture.bind(*four, address(AF_INET, "0.0.0.0", 80)) == 0);
}

TEST_CASE("network: names are taken as long as their sockets are there") {
  Fixture fixture;
  auto first = fixture.made(AF_INET);
  REQUIRE(fixture.bind(*first, address(AF_INET, "127.0.0.1", 80)) == 0);
  CHECK(fixture.bind(*first, address(AF_INET, "127.0.0.1", 81)) == EINVAL); // has one
  const auto second = fixture.made(AF_INET);
  CHECK(fixture.bind(*second, address(AF_INET, "0.0.0.0", 80)) == EADDRINUSE);
  CHECK(fixture.bind(*second, address(AF_INET, "192.0.2.1", 80)) == EADDRNOTAVAIL);
  CHECK(fixture.bind(*second, address(AF_INET6, "::1", 80)) == EAFNOSUPPORT);
  first.reset();
  CHECK(fixture.bind(*second, address(AF_INET, "0.0.0.0", 80)) == 0);
}

TEST_CASE("network: SO_REUSEADDR shares a port that nobody listens at, SO_REUSEPORT any") {
  Fixture fixture;
  const SocketName name = address(AF_INET, "127.0.0.1", 80);
  auto first = fixture.made(AF_INET);
  auto second = fixture.made(AF_INET);
  first->traits().reuses_address = second->traits().reuses_address = true;
  REQUIRE(fixture.bind(*first, name) == 0);
  REQUIRE(fixture.bind(*second, name) == 0);
  const std::unique_ptr<Socket> listener(fixture.network.listen(*first->unconnected(), 1).value());
  CHECK(fixture.network.listen(*second->unconnected(), 1).error() == EADDRINUSE);
  auto third = fixture.made(AF_INET);
  third->traits().reuses_address = true;
  CHECK(fixture.bind(*third, name) == EADDRINUSE);

  for (const std::uint16_t port : {std::uint16_t{90}, std::uint16_t{90}}) {
    const auto one = fixture.made(AF_INET);
    one->traits().reuses_port = true;
    CHECK(fixture.bind(*one, address(AF_INET, "127.0.0.1", port)) == 0);
  }
}

TEST_CASE("network: port 0 is a free one, until none is left") {
  Fixture fixture;
  std::vector<std::unique_ptr<Socket>> all;
  std::set<std::uint16_t> ports;
  for (int count = 0; count < 200; ++count) {
    all.push_back(fixture.made(AF_INET));
    REQUIRE(fixture.bind(*all.back(), address(AF_INET, "127.0.0.1", 0)) == 0);
    ports.insert(all.back()->own_name()->port());
  }
  CHECK(ports.size() == all.size());
  CHECK(*ports.begin() >= 32768);
}

TEST_CASE("network: what waits to be accepted is bounded, and gone when nobody accepts") {
  Fixture fixture;
  for (const SocketName& name : {address(AF_INET, "127.0.0.1", 80), abstract_name("server")}) {
    auto listener = fixture.listening(name, 2);
    std::vector<std::unique_ptr<Socket>> clients;
    for (int count = 0; count < 5; ++count) { // two more than have a place, as Linux counts them
      clients.push_back(std::move(*fixture.connected(name)));
      CHECK(clients.back()->connect_again() == (count < 3 ? 0 : EALREADY));
    }
    listener.reset();
    std::byte room[4];
    CHECK(clients[0]->receive(room, Socket::Taking::yes).error() == ECONNRESET);
    CHECK(clients[0]->receive(room, Socket::Taking::yes)->bytes == 0);
    CHECK(clients[0]->send(room, {}, Socket::More::no).error() == EPIPE);
    CHECK((*clients[3]->ready_for(abi::file_readable) & file_failed) != 0);
    CHECK(clients[3]->connect_again() == ECONNREFUSED);
    CHECK(fixture.connected(name).error() == ECONNREFUSED);
  }
}

TEST_CASE(
    "network: who finds no place with a listener waits for one, and is told when it is there") {
  constexpr Readiness all = abi::file_readable | abi::file_writable | file_read_hung_up;
  Fixture fixture;
  for (const SocketName& name : {address(AF_INET, "127.0.0.1", 80), abstract_name("server")}) {
    const auto listener = fixture.listening(name, 0);
    std::vector<std::unique_ptr<Socket>> clients;
    for (int count = 0; count < 4; ++count) {
      clients.push_back(std::move(*fixture.connected(name)));
    }
    CHECK(clients[0]->connect_again() == 0);
    CHECK(clients[0]->connect_again() == EISCONN);
    Socket& late = *clients[2];
    CHECK(late.connect_again() == EALREADY);
    CHECK(late.ready_for(all) == Readiness{0});
    CHECK(late.peer_name().error() == ENOTCONN);
    std::byte room[4];
    CHECK(late.receive(room, Socket::Taking::yes).error() == EAGAIN);
    CHECK(late.send(room, {}, Socket::More::no).error() == EAGAIN);
    clients[1].reset(); // which nobody accepts then
    const std::uint64_t seen = late.arrivals(abi::file_writable);
    std::unique_ptr<Socket> server(listener->accept().value().socket);
    CHECK(server->own_name()->bytes() == clients[0]->peer_name()->bytes());
    CHECK(late.arrivals(abi::file_writable) != seen);
    CHECK(late.ready_for(all) == abi::file_writable);
    CHECK(late.connect_again() == 0);
    CHECK(clients[3]->connect_again() == EALREADY);
    server.reset(listener->accept().value().socket);
    CHECK(through(late, *server, "question") == "question");
    CHECK(clients[3]->connect_again() == 0);
    clients.push_back(std::move(*fixture.connected(name)));
    CHECK(clients.back()->connect_again() == EALREADY);
    dynamic_cast<ListeningSocket&>(*listener).set_backlog(1);
    CHECK(clients.back()->connect_again() == 0);
  }
}

TEST_CASE("network: who has gone before it is accepted is still known by name") {
  Fixture fixture;
  for (const SocketName& name : {address(AF_INET, "127.0.0.1", 80), abstract_name("server")}) {
    const auto listener = fixture.listening(name);
    auto client = fixture.connected(name);
    const SocketName own = (*client)->own_name().value();
    client->reset();
    const Socket::Accepted accepted = listener->accept().value();
    const std::unique_ptr<Socket> server(accepted.socket);
    CHECK(accepted.peer.bytes() == own.bytes());
  }
}

TEST_CASE("network: of TCP, that the other end has gone is learnt by sending to it") {
  constexpr Readiness all = abi::file_readable | abi::file_writable | file_read_hung_up;
  constexpr Readiness told = abi::file_hung_up | file_failed;
  Fixture fixture;
  const SocketName name = address(AF_INET, "127.0.0.1", 80);
  const auto listener = fixture.listening(name);
  auto client = std::move(*fixture.connected(name));
  const std::unique_ptr<Socket> server(listener->accept().value().socket);
  std::byte room[4];
  const auto send = [&] { return server->send(room, {}, Socket::More::no); };
  const auto receive = [&] { return server->receive(room, Socket::Taking::yes); };
  SUBCASE("closed") {
    client.reset();
    CHECK(server->ready_for(all) == all);
    CHECK(server->peer_name()->port() != 0);
    const std::uint64_t seen = server->arrivals(abi::file_writable);
    CHECK(send() == 4);
    CHECK(server->arrivals(abi::file_writable) != seen);
    CHECK(server->ready_for(all) == (all | told));
    CHECK(server->peer_name().error() == ENOTCONN);
    CHECK(send().error() == EPIPE);
    CHECK(server->ready_for(all) == (all | abi::file_hung_up));
    CHECK(receive()->bytes == 0);
  }
  SUBCASE("closed with something unread") {
    CHECK(send() == 4);
    client.reset();
    CHECK(server->ready_for(all) == (all | told));
    CHECK(send().error() == ECONNRESET);
    CHECK(send().error() == EPIPE);
  }
  SUBCASE("closed at once, as SO_LINGER wants it") {
    CHECK(client->set_option(abi::SocketOption::linger, 0) == 0);
    client.reset();
    CHECK(server->take_error() == ECONNRESET);
    CHECK(receive()->bytes == 0);
  }
  SUBCASE("it only reads no more") {
    CHECK(client->shut_down({.reading = true}) == 0);
    CHECK(send() == 4);
    CHECK(client->receive(room, Socket::Taking::yes)->bytes == 4);
    CHECK(client->receive(room, Socket::Taking::yes)->bytes == 0);
  }
}

TEST_CASE("network: shutdown of a listening socket refuses, and ends waiting for it") {
  Fixture fixture;
  const SocketName name = address(AF_INET, "127.0.0.1", 80);
  const auto listener = fixture.listening(name);
  CHECK(listener->shut_down({.reading = true}) == 0);
  CHECK(listener->accept().error() == EINVAL);
  CHECK((*listener->ready_for(abi::file_readable) & abi::file_hung_up) != 0);
  CHECK(fixture.connected(name).error() == ECONNREFUSED);
}

TEST_CASE("network: sockets that are not to be had") {
  Fixture fixture;
  CHECK(fixture.network.make(AF_NETLINK, SOCK_RAW, 0).error() == EAFNOSUPPORT);
  CHECK(fixture.network.make(AF_INET, SOCK_DGRAM, 0).error() == EPROTONOSUPPORT);
  CHECK(fixture.network.make(AF_INET, SOCK_RAW, IPPROTO_ICMP).error() == EPERM);
  CHECK(fixture.network.make(AF_INET, SOCK_STREAM, IPPROTO_UDP).error() == EPROTONOSUPPORT);
  CHECK(fixture.network.make(AF_UNIX, SOCK_RDM, 0).error() == ESOCKTNOSUPPORT);
  const auto one = fixture.made(AF_UNIX, SOCK_SEQPACKET);
  REQUIRE(fixture.bind(*one, abstract_name("packets")) == 0);
  const std::unique_ptr<Socket> listener(fixture.network.listen(*one->unconnected(), 1).value());
  CHECK(fixture.connected(abstract_name("packets")).error() == EPROTOTYPE);
  const auto nameless = fixture.made(AF_UNIX);
  CHECK(fixture.network.listen(*nameless->unconnected(), 1).error() == EINVAL);
  std::byte room[1];
  CHECK(nameless->send(room, {}, Socket::More::no).error() == ENOTCONN);
  CHECK(fixture.made(AF_INET)->send(room, {}, Socket::More::no).error() == EPIPE);
  CHECK(fixture.made(AF_INET)->receive(room, Socket::Taking::yes).error() == ENOTCONN);
}

TEST_CASE("network: that it is connected is an edge to who has waited for the socket before") {
  Fixture fixture;
  const SocketName name = address(AF_INET, "127.0.0.1", 80);
  const auto listener = fixture.listening(name);
  const auto socket = fixture.made(AF_INET);
  const std::uint64_t seen = socket->arrivals(abi::file_writable);
  const std::unique_ptr<Socket> connected(
      fixture.network.connect(*socket->unconnected(), name).value());
  CHECK(connected->arrivals(abi::file_writable) != seen);
  CHECK(connected->arrivals(abi::file_readable) != socket->arrivals(abi::file_readable));
}

// ---- through the host --------------------------------------------------------------------------

TEST_CASE("network: the host's connections come to who listens, with the guest's port") {
  ScriptedHost host;
  Fixture fixture(&host);
  host.answers[Operation::listen] = {7};
  host.answers[Operation::accept] = {8, -EAGAIN};
  host.answers[Operation::name] = {0};
  host.answers[Operation::set_option] = {0};
  host.told = address(AF_INET, "127.0.0.1", 16379).internet;
  {
    const auto socket = fixture.made(AF_INET);
    REQUIRE(socket->set_option(abi::SocketOption::no_delay, 1) == 0);
    REQUIRE(fixture.bind(*socket, address(AF_INET, "0.0.0.0", 6379)) == 0);
    const std::unique_ptr<Socket> listener(
        fixture.network.listen(*socket->unconnected(), 511).value());
    REQUIRE(host.calls.front().operation == Operation::listen);
    CHECK(host.calls.front().value == 6379);
    CHECK(host.calls.front().mode == 511);
    CHECK(listener->may_become_ready());
    const std::size_t before = host.calls.size();
    CHECK(listener->accept().error() == EAGAIN);
    CHECK(host.calls.size() == before); // the board says it
    host.states[7] = {.ready = abi::socket_readable, .changes = 1};
    CHECK(*listener->ready_for(abi::file_readable) == abi::file_readable);
    const Socket::Accepted got = listener->accept().value();
    const std::unique_ptr<Socket> accepted(got.socket);
    CHECK(accepted->own_name()->port() == 6379);
    CHECK(got.peer.port() == 16379);
    CHECK(got.peer.family == AF_INET);
    CHECK(accepted->peer_name()->port() == 16379);
    // The host is told once what all of them begin with.
    CHECK(host.count(Operation::set_option) == 1);
    CHECK(listener->set_option(abi::SocketOption::keep_alive, 1) == 0);
    CHECK(host.count(Operation::set_option) == 2);
    CHECK(host.calls.back().socket == 7);
    CHECK(accepted->connect_again() == EISCONN);
    CHECK(listener->accept().error() == EAGAIN);
    CHECK(host.open.size() == 2);
  }
  CHECK(host.open.empty());
}

TEST_CASE("network: where the host does not let connections come, the guest's own do") {
  ScriptedHost host;
  Fixture fixture(&host);
  host.answers[Operation::listen] = {-EACCES};
  const SocketName name = address(AF_INET, "127.0.0.1", 6379);
  const auto listener = fixture.listening(name);
  CHECK_FALSE(listener->may_become_ready());
  CHECK(fixture.connected(name).has_value());
  CHECK(host.count(Operation::connect) == 0);
}

TEST_CASE("network: a connection through the host is under way until the board says how it ended") {
  ScriptedHost host;
  Fixture fixture(&host);
  host.answers[Operation::connect] = {3};
  host.answers[Operation::error] = {ECONNREFUSED, 0};
  const SocketName there = address(AF_INET6, "::ffff:192.0.2.1", 80);
  auto socket = fixture.connected(there);
  REQUIRE(socket.has_value());
  CHECK((*socket)->connect_again() == EALREADY);
  CHECK((*socket)->watch(abi::file_writable) == 0);
  CHECK(host.watched[3] == (abi::socket_writable | abi::socket_hung_up | abi::socket_failed));
  SUBCASE("well") {
    host.states[3] = {.ready = abi::socket_writable, .changes = 1};
    CHECK((*socket)->connect_again() == 0);
    CHECK((*socket)->connect_again() == EISCONN);
  }
  SUBCASE("badly") {
    host.states[3] = {.ready = abi::socket_writable | abi::socket_failed | abi::socket_hung_up,
                      .changes = 1};
    CHECK((*socket)->connect_again() == ECONNREFUSED);
  }
  socket->reset();
  CHECK(host.open.empty());
}

TEST_CASE("network: what the host does not let be reached says so; the own machine just refuses") {
  ScriptedHost host;
  Fixture fixture(&host);
  host.answers[Operation::connect] = {-EACCES};
  CHECK(fixture.connected(address(AF_INET, "192.0.2.1", 80)).error() == EACCES);
  CHECK(fixture.connected(address(AF_INET, "127.0.0.1", 80)).error() == ECONNREFUSED);
}

TEST_CASE("network: a host that takes less than all, and nothing, is told as Linux tells it") {
  ScriptedHost host;
  Fixture fixture(&host);
  host.answers[Operation::connect] = {3};
  host.answers[Operation::send] = {abi::socket_transfer_bytes, 10, -EAGAIN};
  auto socket = fixture.connected(address(AF_INET, "192.0.2.1", 80));
  REQUIRE(socket.has_value());
  const std::vector<std::byte> much(2 * abi::socket_transfer_bytes);
  CHECK((*socket)->send(much, {}, Socket::More::no) == abi::socket_transfer_bytes + 10);
  REQUIRE(host.count(Operation::send) == 2);
  CHECK(host.calls[host.calls.size() - 2].flags == abi::socket_more); // more follows
  CHECK(host.calls.back().flags == 0);
  CHECK((*socket)->send(much, {}, Socket::More::no).error() == EAGAIN);
  CHECK((*socket)->send(much, {nullptr}, Socket::More::no).error() == EINVAL); // files stay here
}
