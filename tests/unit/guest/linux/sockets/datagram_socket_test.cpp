// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/datagram_socket.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "guest/linux/files/open_files.hpp"
#include "guest/linux/sockets/network.hpp"

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using Taking = Socket::Taking;

constexpr Readiness all = abi::file_readable | abi::file_writable | file_read_hung_up;

SocketName abstract_name(std::string_view text) {
  SocketName name;
  name.family = AF_UNIX;
  name.unix_name = to_text(std::string(1, '\0').append(text));
  return name;
}

struct World {
  Network network{nullptr};

  std::unique_ptr<DatagramSocket> make() {
    const Or<Socket*> made = network.make(AF_UNIX, SOCK_DGRAM, 0);
    REQUIRE(made);
    return std::unique_ptr<DatagramSocket>((*made)->datagrams());
  }
  std::unique_ptr<DatagramSocket> named(std::string_view name) {
    std::unique_ptr<DatagramSocket> made = make();
    REQUIRE(network.bind(*made, abstract_name(name)) == 0);
    return made;
  }
};

Or<std::uint64_t> send(Socket& from, std::string_view text) {
  return from.send(std::as_bytes(std::span(text)), {}, Socket::More::no);
}
Or<std::uint64_t> send(DatagramSocket& from, const DatagramSocket& to, std::string_view text) {
  return from.send_to(to.mailbox(), std::as_bytes(std::span(text)), {});
}

struct Taken {
  std::string text;
  std::uint64_t whole = 0;
  std::string from; // without the NUL of abstract names
  int error = 0;
};
Taken take(Socket& socket, std::size_t most = 100, Taking taking = Taking::yes) {
  std::string to(most, '?');
  Or<Socket::Received> got = socket.receive(std::as_writable_bytes(std::span(to)), taking);
  if (!got) {
    return {.text = {}, .whole = 0, .from = {}, .error = got.error()};
  }
  to.resize(got->bytes);
  const std::string_view name = view(got->from.unix_name);
  return {.text = to,
          .whole = got->whole_bytes,
          .from = std::string(name.empty() ? name : name.substr(1)),
          .error = 0};
}

} // namespace

TEST_CASE("datagrams: they go to names, and say from whom they are, also when that one is gone") {
  World world;
  const auto server = world.named("server");
  auto client = world.named("client");
  const auto nameless = world.make();
  const Or<std::shared_ptr<Mailbox>> found = world.network.mailbox_at(abstract_name("server"));
  REQUIRE(found);
  CHECK(*found == server->mailbox());
  CHECK(send(*client, *server, "one") == 3);
  CHECK(send(*client, *server, "") == 0);
  CHECK(send(*nameless, *server, "three") == 5);
  client.reset();
  CHECK(server->ready_for(all) == (abi::file_readable | abi::file_writable));
  CHECK(server->readable_bytes() == 3);
  CHECK(take(*server, 100, Taking::no).text == "one");
  const Taken first = take(*server, 2);
  CHECK(first.text == "on");
  CHECK(first.whole == 3);
  CHECK(first.from == "client");
  CHECK(take(*server).from == "client");
  const Taken last = take(*server);
  CHECK(last.text == "three");
  CHECK(last.from.empty());
  CHECK(take(*server).error == EAGAIN);
  CHECK(world.network.mailbox_at(abstract_name("client")).error() == ECONNREFUSED);
}

TEST_CASE("datagrams: names are one's own, and of one kind") {
  World world;
  const auto server = world.named("server");
  const auto other = world.make();
  CHECK(world.network.bind(*other, abstract_name("server")) == EADDRINUSE);
  CHECK(world.network.bind(*server, abstract_name("second")) == EINVAL);
  SocketName any;
  any.family = AF_UNIX;
  CHECK(world.network.mailbox_at(any).error() == EINVAL);
  CHECK(world.network.bind(*other, any) == 0); // one that is free
  CHECK(other->own_name()->unix_name.size() == 6);
  const Or<Socket*> stream = world.network.make(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(stream);
  const std::unique_ptr<Socket> owned(*stream);
  CHECK(world.network.connect(*owned->unconnected(), abstract_name("server")).error() ==
        EPROTOTYPE);
  CHECK(world.network.bind(*owned->unconnected(), abstract_name("stream")) == 0);
  CHECK(world.network.mailbox_at(abstract_name("stream")).error() == EPROTOTYPE);
}

TEST_CASE("datagrams: who is connected hears from that one alone") {
  World world;
  const auto one = world.named("one");
  auto other = world.named("other");
  const auto third = world.named("third");
  CHECK(send(*one, "x").error() == ENOTCONN);
  CHECK(one->peer_name().error() == ENOTCONN);
  CHECK(send(*third, *one, "before") == 6);
  CHECK(one->connect(other->mailbox()) == 0);
  CHECK(take(*one).text == "before"); // what came before stays
  CHECK(one->peer_name()->unix_name == abstract_name("other").unix_name);
  CHECK(send(*third, *one, "x").error() == EPERM);
  CHECK(third->connect(one->mailbox()) == EPERM);
  CHECK(send(*one, "to other") == 8);
  CHECK(take(*other).from == "one");
  CHECK(send(*other, *one, "back") == 4);
  CHECK(other->connect(one->mailbox()) == 0);
  CHECK(one->connect(nullptr) == 0); // what is unread is lost, and told to who was connected
  CHECK(take(*one).error == EAGAIN);
  CHECK(take(*other).error == ECONNRESET);
  CHECK(take(*other).error == EAGAIN);
  CHECK(send(*third, *one, "again") == 5);
  CHECK(one->connect(other->mailbox()) == 0);
  other.reset();
  CHECK(send(*one, "x").error() == ECONNREFUSED);
  CHECK(send(*one, "x").error() == ENOTCONN);
}

TEST_CASE("datagrams: a pair is two that are connected to each other") {
  SocketTraits traits;
  traits.family = AF_UNIX;
  const DatagramSocket::Pair pair = DatagramSocket::make_pair(traits, traits);
  std::unique_ptr<DatagramSocket> one(pair.one);
  const std::unique_ptr<DatagramSocket> other(pair.other);
  CHECK(one->is_connected());
  CHECK(send(*one, "there") == 5);
  CHECK(take(*other).text == "there");
  CHECK(one->shut_down({.reading = false, .writing = true}) == 0);
  CHECK(send(*one, "x").error() == EPIPE);
  CHECK(send(*other, "back") == 4);
  CHECK(one->shut_down({.reading = true, .writing = false}) == 0);
  CHECK(send(*other, "x").error() == EPIPE);
  CHECK(take(*one).text == "back");
  CHECK(one->ready_for(all) == (all | abi::file_hung_up));
  one.reset();
  CHECK(take(*other).error == EAGAIN);
  CHECK(send(*other, "x").error() == ECONNREFUSED);
  CHECK(send(*other, "x").error() == ENOTCONN);
}

TEST_CASE("datagrams: what waits is bounded, by who sends and by who takes") {
  World world;
  SocketTraits traits;
  traits.family = AF_UNIX;
  const DatagramSocket::Pair made = DatagramSocket::make_pair(traits, traits);
  const std::unique_ptr<DatagramSocket> one(made.one);
  const std::unique_ptr<DatagramSocket> other(made.other);
  std::size_t count = 0;
  while (send(*one, "x")) {
    ++count;
  }
  CHECK(count == 278); // as Linux
  CHECK(one->ready_for(file_takes_message | abi::file_writable) == 0U);
  const std::uint64_t room = one->arrivals(abi::file_writable);
  CHECK(take(*other).text == "x");
  CHECK(one->arrivals(abi::file_writable) > room);
  CHECK(one->ready_for(file_takes_message) == file_takes_message);
  CHECK(send(*one, std::string(SocketTraits::usual_bytes, 'x')).error() == EMSGSIZE);

  const auto server = world.named("server");
  const auto client = world.make();
  for (count = 0; send(*client, *server, "x"); ++count) {
  }
  CHECK(count == Mailbox::most_messages);
  CHECK(send(*client, *server, "x").error() == EAGAIN);
  CHECK(client->ready_for(abi::file_writable | file_takes_message) == abi::file_writable);
  const auto second = world.make();
  CHECK(second->connect(server->mailbox()) == 0);
  CHECK(second->ready_for(abi::file_writable) == 0U);
  CHECK(send(*second, "x").error() == EAGAIN);
  const std::uint64_t before = second->arrivals(abi::file_writable);
  CHECK(take(*server).text == "x");
  CHECK(second->arrivals(abi::file_writable) > before);
  CHECK(second->ready_for(abi::file_writable) == abi::file_writable);
  CHECK(client->ready_for(file_takes_message) == file_takes_message);
}

TEST_CASE(
    "datagrams: one may send to itself; files go along, and are closed if nobody takes them") {
  World world;
  auto one = world.named("one");
  CHECK(one->connect(one->mailbox()) == 0);
  CHECK(send(*one, "self") == 4);
  CHECK(take(*one).from == "one");
  auto file = std::make_shared<OpenFile>(world.make().release(), 0U, Text{});
  const std::weak_ptr<OpenFile> watched = file;
  const std::string text = "with a file";
  CHECK(one->send(std::as_bytes(std::span(text)), {std::move(file)}, Socket::More::no) ==
        text.size());
  CHECK(!watched.expired());
  one.reset();
  CHECK(watched.expired());
}
