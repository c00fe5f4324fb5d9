// SPDX-License-Identifier: MIT
// Requests over the control socket that are answered later.
#include "vmm/control/control_socket.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include "tests/support/control_client.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace vmm;
using namespace test_support;

namespace {

// Requests that wait for `open`; each client's line comes back behind it.
struct Door {
  Event news = std::move(*Event::create("a door"));
  std::atomic<bool> open{false};
  std::atomic<int> waiting{0};

  ControlReply answer(std::string_view line) {
    if (line == "now") {
      return std::string("at once");
    }
    ++waiting;
    // Gone with the wish.
    std::shared_ptr<void> count(nullptr, [this](void*) { --waiting; });
    return ControlReply::Later(
        [this, count, text = std::string(line)]() -> std::optional<std::string> {
          return open ? std::optional("open " + text) : std::nullopt;
        });
  }
};

std::unique_ptr<ControlSocket> serve(const std::string& path, Door& door) {
  return test_support::serve(
      path, [&door](std::string_view line) { return door.answer(line); }, &door.news);
}

void until(const std::function<bool()>& condition) {
  while (!condition()) {
    std::this_thread::yield();
  }
}

} // namespace

TEST_CASE("who waits is answered when it has happened, and what it asked later after that") {
  const TemporaryFolder dir;
  Door door;
  const auto socket = serve(dir / "s", door);
  Client first(dir / "s");
  Client last(dir / "s");
  REQUIRE(first.send("a\nnow\n"));
  REQUIRE(last.send("b")); // a last line without an end, by one that sends no more
  last.end();
  Client other(dir / "s");
  REQUIRE(other.send("now\n"));
  CHECK(other.line() == "at once");
  until([&door] { return door.waiting == 2; });
  door.news.set(); // for nothing
  REQUIRE(other.send("now\n"));
  CHECK(other.line() == "at once");
  door.open = true;
  door.news.set();
  CHECK(first.line() == "open a");
  CHECK(first.line() == "at once");
  CHECK(last.line() == "open b");
  CHECK(last.line().empty()); // closed
  CHECK(door.waiting == 0);
}

TEST_CASE("what has happened already is not waited for") {
  const TemporaryFolder dir;
  Door door;
  door.open = true;
  const auto socket = serve(dir / "s", door);
  Client client(dir / "s");
  REQUIRE(client.send("a\nb\n"));
  CHECK(client.line() == "open a");
  CHECK(client.line() == "open b");
}

TEST_CASE("what was asked before the end is answered at the end") {
  const TemporaryFolder dir;
  std::atomic<bool> busy{false};
  std::atomic<bool> go_on{false};
  const auto socket = serve(dir / "s", [&](std::string_view line) -> ControlReply {
    if (line == "long") {
      busy = true;
      until([&go_on] { return go_on.load(); });
    }
    return "done " + std::string(line);
  });
  Client first(dir / "s");
  REQUIRE(first.send("long\n"));
  until([&busy] { return busy.load(); });
  Client late(dir / "s"); // in the queue still
  REQUIRE(late.send("late\n"));
  std::jthread ending([&socket] { socket->end(); });
  go_on = true;
  CHECK(first.line() == "done long");
  CHECK(late.line() == "done late");
}

TEST_CASE("who goes away while it waits leaves nothing") {
  const TemporaryFolder dir;
  Door door;
  const auto socket = serve(dir / "s", door);
  {
    std::vector<std::unique_ptr<Client>> clients;
    for (std::size_t index = 0; index < ControlSocket::max_clients; ++index) {
      clients.push_back(std::make_unique<Client>(dir / "s"));
      REQUIRE(clients.back()->send("a\nmore\n"));
    }
    until([&door] { return door.waiting == ControlSocket::max_clients; });
  }
  until([&door] { return door.waiting == 0; });
  Client next(dir / "s");
  REQUIRE(next.send("now\n"));
  CHECK(next.line() == "at once");
}

TEST_CASE("the end is the last moment for an answer") {
  const TemporaryFolder dir;
  Door door;
  auto socket = serve(dir / "s", door);
  Client answered(dir / "s");
  REQUIRE(answered.send("a\n"));
  until([&door] { return door.waiting == 1; });
  door.open = true; // and nobody says so
  socket.reset();
  CHECK(answered.line() == "open a");
  door.open = false;
  socket = serve(dir / "s", door);
  Client left(dir / "s");
  REQUIRE(left.send("b\n"));
  until([&door] { return door.waiting == 1; });
  socket->end();
  CHECK(left.line().empty());
  CHECK(door.waiting == 0);
}
