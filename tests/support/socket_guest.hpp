// SPDX-License-Identifier: MIT
// A guest of SocketCalls without a guest, and who is outside: real connections of this machine's.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"
#include "vmm/sockets/socket_address.hpp"
#include "vmm/sockets/socket_calls.hpp"

namespace test_support {

using abi::CallResult;
using abi::SocketCall;
using abi::SocketOperation;
using namespace vmm; // NOLINT(google-build-using-namespace)

inline constexpr std::uint64_t board_gpa = mib;
inline constexpr std::uint64_t buffer_gpa = 2 * mib;
inline constexpr std::uint16_t guest_port = 6379;
inline constexpr std::uint32_t in = abi::socket_readable;
inline constexpr std::uint32_t out = abi::socket_writable;

inline abi::SocketAddress loopback(std::uint16_t port, std::uint8_t last = 1) {
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
class SocketGuest {
 public:
  explicit SocketGuest(std::uint16_t end = 1) {
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
  SocketGuest(const SocketGuest&) = delete;
  SocketGuest& operator=(const SocketGuest&) = delete;

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

struct StartedSocketGuest : SocketGuest {
  explicit StartedSocketGuest(std::uint16_t end = 1) : SocketGuest(end) { start(); }
};

} // namespace test_support
