// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/local_socket.hpp"

#include <array>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "guest/linux/files/open_files.hpp"

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using Kind = LocalSocket::Kind;
using Taking = LocalSocket::Taking;

struct Ends {
  explicit Ends(Kind kind) {
    SocketTraits traits;
    traits.family = AF_UNIX;
    const LocalSocket::Pair pair = LocalSocket::make(kind, {traits, {}}, {traits, {}});
    one.reset(pair.one);
    other.reset(pair.other);
  }
  std::unique_ptr<LocalSocket> one;
  std::unique_ptr<LocalSocket> other;
};

Or<std::uint64_t> send(LocalSocket& to, std::string_view text, LocalSocket::Files files = {}) {
  return to.send(std::as_bytes(std::span(text)), std::move(files), Socket::More::no);
}

struct Got {
  std::string text;
  std::uint64_t whole = 0;
  std::size_t files = 0;
  int error = 0;
};
Got take(LocalSocket& from, std::size_t most = 100, Taking taking = Taking::yes) {
  std::string text(most, '\0');
  const auto got = from.receive(std::as_writable_bytes(std::span(text)), taking);
  if (!got) {
    return {{}, 0, 0, got.error()};
  }
  text.resize(got->bytes);
  return {text, got->whole_bytes, got->files.size(), 0};
}

} // namespace

TEST_CASE("local socket: a stream has no bounds, messages have") {
  Ends stream(Kind::stream);
  CHECK(send(*stream.one, "abc") == 3);
  CHECK(send(*stream.one, "def") == 3);
  CHECK(take(*stream.other, 4, Taking::no).text == "abcd");
  CHECK(take(*stream.other, 4).text == "abcd");
  CHECK(take(*stream.other).text == "ef");
  CHECK(take(*stream.other).error == EAGAIN);
  Ends pair(Kind::packets);
  CHECK(send(*pair.one, "abc") == 3);
  CHECK(send(*pair.one, "") == 0);
  CHECK(send(*pair.one, "def") == 3);
  CHECK(take(*pair.other, 2).whole == 3);
  CHECK(take(*pair.other).error == 0); // the empty one
  CHECK(take(*pair.other).text == "def");
  CHECK(take(*pair.other).error == EAGAIN);
}

TEST_CASE("local socket: what waits is bounded, however small the messages are") {
  constexpr Readiness writable = abi::file_writable;
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{50000}}) {
    CAPTURE(bytes);
    Ends stream(Kind::stream);
    const std::string text(bytes, 'x');
    std::uint64_t sent = 0;
    std::uint64_t times = 0;
    while (const auto some = send(*stream.one, text)) {
      sent += *some;
      ++times;
      REQUIRE(times < 1000);
    }
    CHECK(sent + times * 512 <= SocketTraits::usual_bytes);
    CHECK(stream.one->ready_for(writable) == Readiness{0});
    const std::uint64_t room = stream.one->arrivals(writable);
    std::uint64_t got = 0;
    while (const std::size_t some = take(*stream.other, 7000).text.size()) {
      got += some;
    }
    CHECK(got == sent);
    CHECK(stream.one->arrivals(writable) > room);
    CHECK(stream.one->ready_for(writable) == writable);
  }
  Ends packets(Kind::packets);
  CHECK(send(*packets.one, std::string(SocketTraits::usual_bytes, 'x')).error() == EMSGSIZE);
}

TEST_CASE("local socket: ends are told to who reads and who writes") {
  constexpr Readiness all = abi::file_readable | abi::file_writable | file_read_hung_up;
  Ends pair(Kind::stream);
  REQUIRE(send(*pair.one, "last"));
  CHECK(pair.one->shut_down({.reading = false, .writing = true}) == 0);
  CHECK(send(*pair.one, "x").error() == EPIPE);
  CHECK(pair.other->ready_for(all) == all);
  CHECK(take(*pair.other).text == "last");
  CHECK(take(*pair.other).error == 0);
  CHECK(send(*pair.other, "back") == 4);
  pair.one.reset(); // which has not read that
  CHECK(pair.other->ready_for(all) == (all | abi::file_hung_up | file_failed));
  CHECK(take(*pair.other).error == ECONNRESET);
  CHECK(take(*pair.other).error == 0);
  CHECK(send(*pair.other, "x").error() == EPIPE);
}

TEST_CASE("local socket: files go along with their message, and are closed if nobody takes them") {
  Ends inner(Kind::stream);
  const auto make = [&] { return std::make_shared<OpenFile>(inner.one.release(), 0U, Text{}); };
  Ends pair(Kind::stream);
  std::weak_ptr<OpenFile> sent;
  {
    const auto file = make();
    sent = file;
    REQUIRE(send(*pair.one, "before"));
    REQUIRE(send(*pair.one, "with", {file}));
    REQUIRE(send(*pair.one, "behind"));
  }
  CHECK(take(*pair.other, 100, Taking::no).files == 1);
  const Got first = take(*pair.other);
  CHECK(first.text == "beforewith");
  CHECK(first.files == 1);
  CHECK(sent.expired()); // nobody has taken it over
  CHECK(take(*pair.other).text == "behind");
  Ends third(Kind::stream);
  const auto file = std::make_shared<OpenFile>(third.one.release(), 0U, Text{});
  sent = file;
  REQUIRE(send(*pair.one, "x", {file}));
  CHECK(sent.use_count() == 2);
  pair.other.reset();
  CHECK(sent.use_count() == 1);
}
