// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_calls.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"
#include "vmm/sockets/socket_address.hpp"

using namespace vmm;
using abi::CallResult;
using abi::SocketCall;
using abi::SocketOperation;
using abi::SocketOption;

namespace {

constexpr std::uint64_t board_gpa = mib;
constexpr std::uint64_t buffer_gpa = 2 * mib;
constexpr std::uint16_t guest_port = 6379;
constexpr std::uint32_t in = abi::socket_readable;
constexpr std::uint32_t out = abi::socket_writable;

abi::SocketAddress loopback(std::uint16_t port, std::uint8_t last = 1) {
  abi::SocketAddress address{.family = AF_INET, .port = port};
  address.address[0] = 127;
  address.address[3] = last;
  return address;
}

// A socket of somebody outside.
class Outside {
 public:
  explicit Outside(UniqueFd fd) : fd_(std::move(fd)) {}
  // Connected to a port of this machine; not valid: refused.
  static Outside connected(std::uint16_t port) { return connected(loopback(port)); }
  static Outside connected(const abi::SocketAddress& end) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const KernelAddress address = kernel_address(end).value();
    return Outside(::connect(fd.get(), address.generic(), address.bytes) == 0 ? std::move(fd)
                                                                              : UniqueFd{});
  }
  [[nodiscard]] bool valid() const { return fd_.valid(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void send(std::string_view text) const {
    REQUIRE(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == std::ssize(text));
  }
  // Of at most so many bytes; waits for the first.
  [[nodiscard]] std::string receive(std::size_t bytes) const {
    std::string text(bytes, '\0');
    const ssize_t got = ::recv(fd_.get(), text.data(), text.size(), 0);
    return got < 0 ? "error " + std::to_string(errno)
                   : text.substr(0, static_cast<std::size_t>(got));
  }
  void finish() const { REQUIRE(::shutdown(fd_.get(), SHUT_WR) == 0); }
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    fd_ = UniqueFd{};
  }

 private:
  UniqueFd fd_;
};

class OutsideServer {
 public:
  OutsideServer() {
    KernelAddress address = kernel_address(loopback(0)).value();
    REQUIRE(::bind(fd_.get(), address.generic(), address.bytes) == 0);
    REQUIRE(::listen(fd_.get(), 10) == 0);
    REQUIRE(::getsockname(fd_.get(), address.generic(), &address.bytes) == 0);
    port_ = guest_address(address).port;
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] Outside accept() const {
    return Outside(UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
  void close() { fd_ = UniqueFd{}; }

 private:
  UniqueFd fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::uint16_t port_ = 0;
};

// A guest that may listen at `guest_port`, which two ports of the host's are, and connect to `end`.
class Guest {
 public:
  explicit Guest(std::uint16_t end = 1) {
    NetworkRequest request;
    request.listens.push_back({"0", loopback(0), guest_port});
    request.listens.push_back({"127.0.0.2:0", loopback(0, 2), guest_port});
    request.connects.push_back({"test", "127.0.0.1", end});
    auto network = AllowedNetwork::open(request);
    REQUIRE_MESSAGE(network.has_value(), network.error().message);
    host_port_ = network->ports().front().address().port;
    other_end_ = network->ports().back().address();
    auto calls = SocketCalls::create(std::move(*network), *memory_, [this] { ++interrupts; });
    REQUIRE(calls);
    calls_.emplace(std::move(*calls));
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  CallResult call(const SocketCall& call) { return calls_->perform(call); }
  void start() {
    REQUIRE(call({.operation = SocketOperation::start,
                  .buffer_gpa = board_gpa,
                  .buffer_bytes = sizeof(abi::SocketBoard)}) == 0);
  }
  std::uint32_t listen() {
    return number(call({.operation = SocketOperation::listen, .mode = 16, .value = guest_port}));
  }
  CallResult accept(std::uint32_t listener) {
    return call({.operation = SocketOperation::accept,
                 .socket = listener,
                 .buffer_gpa = buffer_gpa,
                 .buffer_bytes = sizeof(abi::SocketAddress)});
  }
  CallResult connect(const abi::SocketAddress& end) {
    std::memcpy(memory_->at({buffer_gpa}, sizeof end).data(), &end, sizeof end);
    return call({.operation = SocketOperation::connect,
                 .buffer_gpa = buffer_gpa,
                 .buffer_bytes = sizeof end});
  }
  CallResult send(std::uint32_t socket, std::string_view text) {
    std::memcpy(memory_->at({buffer_gpa}, text.size()).data(), text.data(), text.size());
    return call({.operation = SocketOperation::send,
                 .socket = socket,
                 .buffer_gpa = buffer_gpa,
                 .buffer_bytes = text.size()});
  }
  CallResult receive(std::uint32_t socket, std::uint64_t bytes, std::uint32_t flags = 0) {
    return call({.operation = SocketOperation::receive,
                 .socket = socket,
                 .flags = flags,
                 .buffer_gpa = buffer_gpa,
                 .buffer_bytes = bytes});
  }
  CallResult on(SocketOperation operation, std::uint32_t socket, std::uint32_t mode = 0,
                std::int64_t value = 0) {
    return call({.operation = operation, .socket = socket, .mode = mode, .value = value});
  }
  std::string text(CallResult bytes) {
    REQUIRE(bytes >= 0);
    const auto count = static_cast<std::size_t>(bytes);
    return {reinterpret_cast<const char*>(memory_->at({buffer_gpa}, count).data()), count};
  }
  abi::SocketAddress address() {
    abi::SocketAddress address;
    std::memcpy(&address, memory_->at({buffer_gpa}, sizeof address).data(), sizeof address);
    return address;
  }
  // A connection from outside, and its number here.
  std::pair<Outside, std::uint32_t> connected(std::uint32_t listener) {
    Outside client = Outside::connected(host_port());
    REQUIRE(client.valid());
    wait_for(listener, in);
    const std::uint32_t socket = number(accept(listener));
    take_all();
    return {std::move(client), socket};
  }

  // Waits for events until a socket is ready for all of these.
  void wait_for(std::uint32_t socket, std::uint32_t ready) {
    while ((state(socket).ready & ready) != ready) {
      pollfd events{calls_->events_fd(), POLLIN, 0};
      REQUIRE(::poll(&events, 1, 10'000) == 1);
      CHECK(calls_->take_events());
    }
  }
  void take_all() {
    while (calls_->take_events()) {
    }
  }
  abi::SocketBoard& board() { return *memory_->object_at<abi::SocketBoard>({board_gpa}); }
  abi::SocketState& state(std::uint32_t socket) { return board().states[socket]; }
  std::uint32_t ready(std::uint32_t socket) { return state(socket).ready; }
  static std::uint32_t number(CallResult result) {
    REQUIRE(result >= 0);
    REQUIRE(result < abi::max_sockets);
    return static_cast<std::uint32_t>(result);
  }
  [[nodiscard]] std::uint16_t host_port() const { return host_port_; }
  [[nodiscard]] const abi::SocketAddress& other_end() const { return other_end_; }

  unsigned interrupts = 0;

 private:
  Result<GuestMemory> memory_ = GuestMemory::create(16 * mib, Backing::small_pages);
  std::uint16_t host_port_ = 0;
  abi::SocketAddress other_end_;
  std::optional<SocketCalls> calls_;
};

struct Started : Guest {
  explicit Started(std::uint16_t end = 1) : Guest(end) { start(); }
};

} // namespace

TEST_CASE("socket calls: a connection from outside, there and back") {
  Started guest;
  CHECK_FALSE(Outside::connected(guest.host_port()).valid()); // refused: nobody listens
  const std::uint32_t listener = guest.listen();
  CHECK(guest.ready(listener) == 0);
  CHECK(guest.accept(listener) == -EAGAIN);
  const Outside client = Outside::connected(guest.host_port());
  guest.wait_for(listener, in);
  const std::uint32_t socket = Guest::number(guest.accept(listener));
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
  Started guest;
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
  Started guest;
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
  Started guest;
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
  Started guest;
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
  Started guest;
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

TEST_CASE("socket calls: connecting, refused and accepted") {
  OutsideServer server;
  Started guest(server.port());
  const std::uint32_t socket = Guest::number(guest.connect(loopback(server.port())));
  guest.wait_for(socket, out);
  CHECK(guest.ready(socket) == out);
  CHECK(guest.on(SocketOperation::error, socket) == 0);
  const Outside accepted = server.accept();
  CHECK(guest.send(socket, "hi") == 2);
  CHECK(accepted.receive(100) == "hi");
  server.close();
  const CallResult refused = guest.connect(loopback(server.port()));
  if (refused >= 0) { // or the kernel knows at once
    const std::uint32_t failed = Guest::number(refused);
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
  Started guest(server.port());
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
  Started guest;
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
  Started guest;
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
  Started guest;
  const std::uint32_t first = guest.listen();
  CHECK(guest.on(SocketOperation::shutdown, first, SHUT_RDWR) == 0);
  const std::uint32_t second = guest.listen();
  CHECK(guest.on(SocketOperation::close, first) == 0);
  CHECK(guest.connected(second).first.valid());
}

TEST_CASE("socket calls: what happened to a number's last owner is not the next one's") {
  Started guest;
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
  Started guest;
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
  Started guest;
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
  Started guest;
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
TEST_CASE("socket calls: no close waits for a reader") {
  Started guest;
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

TEST_CASE("socket calls: nonsense is answered, and nothing is lost by it") {
  Guest guest;
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
  Started guest;
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
