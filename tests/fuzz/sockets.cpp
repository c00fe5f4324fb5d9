// SPDX-License-Identifier: MIT
// Any socket calls of a guest, one after the other, with clients and a server outside that do what
// the bytes say: whatever their numbers, lengths, ends and addresses, no port is reached but the
// one that is allowed, and no more descriptors are held than sockets.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <optional>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/base/units.hpp"
#include "vmm/sockets/socket_address.hpp"
#include "vmm/sockets/socket_calls.hpp"

namespace {

constexpr std::uint64_t guest_bytes = 4 * vmm::mib;
constexpr std::uint64_t board_gpa = vmm::mib;
constexpr std::uint64_t buffer_gpa = 2 * vmm::mib;
constexpr std::uint16_t guest_port = 6379;
constexpr unsigned most_calls = 48;

abi::SocketAddress loopback(std::uint16_t port, std::uint8_t last = 1) {
  abi::SocketAddress address{.family = AF_INET, .port = port};
  address.address[0] = 127;
  address.address[3] = last;
  return address;
}

// Somebody of this machine's who listens. Without waiting: nothing a fuzzer says holds us up.
class Server {
 public:
  Server() {
    vmm::KernelAddress address = vmm::kernel_address(loopback(0)).value();
    fuzz::require(::bind(fd_.get(), address.generic(), address.bytes) == 0 &&
                  ::listen(fd_.get(), 16) == 0 &&
                  ::getsockname(fd_.get(), address.generic(), &address.bytes) == 0);
    port_ = vmm::guest_address(address).port;
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] vmm::UniqueFd accept() const {
    return vmm::UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  }

 private:
  vmm::UniqueFd fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  std::uint16_t port_ = 0;
};

std::ptrdiff_t open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  fuzz::require(folder != nullptr);
  std::ptrdiff_t count = 0;
  while (::readdir(folder) != nullptr) {
    ++count;
  }
  ::closedir(folder);
  return count;
}

// Mostly what makes sense, or there would be little to see.
abi::SocketCall call_from(fuzz::Bytes& bytes, const vmm::GuestMemory& memory, std::uint16_t port,
                          std::uint16_t forbidden) {
  abi::SocketCall call{
      .operation = static_cast<abi::SocketOperation>(bytes.below(16)),
      .socket = bytes.below(4) != 0 ? bytes.below(6) : bytes.take<std::uint32_t>(),
      .flags = bytes.take<std::uint32_t>() & (bytes.below(8) != 0 ? 7U : ~0U),
      .mode = bytes.below(8) != 0 ? bytes.below(14) : bytes.take<std::uint32_t>(),
      .value = bytes.below(4) != 0 ? guest_port : bytes.take<std::int64_t>() >> bytes.below(64),
      .buffer_gpa = buffer_gpa,
      .buffer_bytes = bytes.below(4) != 0 ? sizeof(abi::SocketAddress)
                                          : bytes.take<std::uint64_t>() >> bytes.below(64)};
  if (call.operation == abi::SocketOperation::connect) {
    abi::SocketAddress end = loopback(port);
    switch (bytes.below(5)) {
    case 0:
      end = loopback(forbidden);
      break;
    case 1:
      end = loopback(port, static_cast<std::uint8_t>(bytes.below(256)));
      break;
    case 2:
      end = bytes.take<abi::SocketAddress>();
      break;
    default:
      break;
    }
    std::memcpy(memory.at({buffer_gpa}, sizeof end).data(), &end, sizeof end);
  }
  if (call.operation == abi::SocketOperation::start) {
    call.buffer_gpa = bytes.below(2) == 0 ? board_gpa : bytes.take<std::uint64_t>();
    call.buffer_bytes = sizeof(abi::SocketBoard);
  }
  if (bytes.below(16) == 0) {
    call.buffer_gpa =
        bytes.below(2) == 0 ? guest_bytes - bytes.below(200) : bytes.take<std::uint64_t>();
  }
  return call;
}

// One of those outside does something; each of it may fail, none of it waits.
void outside(fuzz::Bytes& bytes, std::vector<vmm::UniqueFd>& ends, const Server& server,
             std::uint16_t host_port) {
  if (ends.size() < 8 && bytes.below(2) == 0) {
    vmm::UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const vmm::KernelAddress end = vmm::kernel_address(loopback(host_port)).value();
    static_cast<void>(::connect(client.get(), end.generic(), end.bytes));
    ends.push_back(std::move(client));
  } else if (vmm::UniqueFd accepted = server.accept(); accepted.valid() && ends.size() < 8) {
    ends.push_back(std::move(accepted));
  }
  if (ends.empty()) {
    return;
  }
  const std::size_t which = bytes.below(static_cast<std::uint32_t>(ends.size()));
  char text[512]{};
  switch (bytes.below(5)) {
  case 0:
    static_cast<void>(::send(ends[which].get(), text, bytes.below(512), MSG_NOSIGNAL));
    break;
  case 1:
    static_cast<void>(::recv(ends[which].get(), text, sizeof text, MSG_DONTWAIT));
    break;
  case 2:
    static_cast<void>(::shutdown(ends[which].get(), SHUT_WR));
    break;
  case 3: { // a reset
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    static_cast<void>(
        ::setsockopt(ends[which].get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    ends.erase(ends.begin() + static_cast<std::ptrdiff_t>(which));
    break;
  }
  default:
    break;
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Server server;
  static const Server forbidden; // which the guest must never reach
  static auto memory = vmm::GuestMemory::create(guest_bytes, vmm::Backing::small_pages);
  static const bool ready = [] { return ::signal(SIGPIPE, SIG_IGN) != SIG_ERR; }();
  fuzz::require(ready && memory.has_value());

  const std::ptrdiff_t before = open_descriptors();
  {
    vmm::NetworkRequest request;
    request.listens.push_back({"0", loopback(0), guest_port});
    request.connects.push_back({"test", "127.0.0.1", server.port()});
    auto network = vmm::AllowedNetwork::open(request);
    fuzz::require(network.has_value());
    const std::uint16_t host_port = network->ports().front().address().port;
    auto calls = vmm::SocketCalls::create(std::move(*network), *memory, [] {});
    fuzz::require(calls.has_value());
    fuzz::Bytes bytes(data, size);
    if (bytes.below(8) != 0) {
      static_cast<void>(calls->perform({.operation = abi::SocketOperation::start,
                                        .buffer_gpa = board_gpa,
                                        .buffer_bytes = sizeof(abi::SocketBoard)}));
    }
    std::vector<vmm::UniqueFd> ends;
    for (unsigned count = 0; count < most_calls && !bytes.empty(); ++count) {
      if (bytes.below(3) == 0) {
        outside(bytes, ends, server, host_port);
      } else {
        const abi::SocketCall call = call_from(bytes, *memory, server.port(), forbidden.port());
        const abi::CallResult result = calls->perform(call);
        fuzz::require(result >= -4095);
      }
      if (bytes.below(2) == 0) {
        static_cast<void>(calls->take_events());
      }
      fuzz::require(!forbidden.accept().valid());
    }
    fuzz::require(open_descriptors() - before <= std::ptrdiff_t{most_calls} + 8 + 4);
  }
  fuzz::require(open_descriptors() == before);
  while (server.accept().valid()) {
  }
  return 0;
}
