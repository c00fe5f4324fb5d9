// SPDX-License-Identifier: MIT
// Socket calls on one connection. What the board says of it stays what poll(2) would say: where the
// answer does not tell that by itself, poll is asked.
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vmm/calls/call_result.hpp"
#include "vmm/sockets/socket_address.hpp"
#include "vmm/sockets/socket_calls.hpp"
#include "vmm/sockets/socket_options.hpp"

namespace vmm {
namespace {

bool has(const abi::SocketCall& call, std::uint32_t flag) {
  return (call.flags & flag) != 0;
}

bool is_linger(const abi::SocketCall& call) {
  return abi::SocketOption{call.mode} == abi::SocketOption::linger;
}

} // namespace

abi::CallResult SocketCalls::perform_on(Socket& socket, const abi::SocketCall& call) {
  switch (call.operation) {
  case abi::SocketOperation::send:
    return send(socket, call);
  case abi::SocketOperation::receive:
    return receive(socket, call);
  case abi::SocketOperation::shutdown:
    return shut_down(socket, call);
  case abi::SocketOperation::close:
    return close(socket, call.socket);
  case abi::SocketOperation::name:
    return name(socket, call);
  case abi::SocketOperation::error:
    return error(socket, call);
  case abi::SocketOperation::set_option:
    return set_option(socket, call);
  case abi::SocketOperation::get_option:
    return get_option(socket, call);
  case abi::SocketOperation::readable_bytes: {
    int bytes = 0;
    return ::ioctl(socket.fd.get(), FIONREAD, &bytes) == 0 ? bytes : failed();
  }
  case abi::SocketOperation::accept:
    return -EINVAL;
  case abi::SocketOperation::start:
  case abi::SocketOperation::listen:
  case abi::SocketOperation::connect:
    break; // of no socket
  }
  return -ENOSYS;
}

abi::CallResult SocketCalls::send(const Socket& socket, const abi::SocketCall& call) {
  const std::span<const std::byte> buffer = buffer_of(call);
  const int more = has(call, abi::socket_more) ? MSG_MORE : 0;
  const ssize_t sent =
      ::send(socket.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_NOSIGNAL | more);
  const abi::CallResult result = sent >= 0 ? sent : failed();
  const bool is_full = result == -EAGAIN || (sent >= 0 && sent < std::ssize(buffer));
  if (is_full) {
    // It becomes writable later, and that is an edge.
    table_.set_ready(call.socket, table_.ready(call.socket) & ~std::uint32_t{abi::socket_writable});
  } else {
    look_again(socket, call.socket);
  }
  return result;
}

abi::CallResult SocketCalls::receive(const Socket& socket, const abi::SocketCall& call) {
  const std::span<std::byte> buffer = buffer_of(call);
  const int peek = has(call, abi::socket_peek) ? MSG_PEEK : 0;
  const ssize_t got = ::recv(socket.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT | peek);
  const abi::CallResult result = got >= 0 ? got : failed();
  const std::uint32_t ready = table_.ready(call.socket);
  const bool is_empty = result == -EAGAIN || (got > 0 && got < std::ssize(buffer) && peek == 0);
  if (is_empty && !socket.urgent && (ready & abi::socket_ended) == 0) {
    // Whatever has come in between is an edge.
    table_.set_ready(call.socket, ready & ~std::uint32_t{abi::socket_readable});
  } else if (peek == 0 || got < 0) {
    look_again(socket, call.socket);
  }
  return result;
}

abi::CallResult SocketCalls::shut_down(const Socket& socket, const abi::SocketCall& call) {
  if (call.mode > SHUT_RDWR) {
    return -EINVAL;
  }
  const abi::CallResult result =
      ::shutdown(socket.fd.get(), static_cast<int>(call.mode)) == 0 ? 0 : failed();
  look_again(socket, call.socket);
  return result;
}

abi::CallResult SocketCalls::put_address(const abi::SocketCall& call,
                                         const abi::SocketAddress& address) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() < sizeof address) {
    return -EINVAL;
  }
  std::memcpy(buffer.data(), &address, sizeof address);
  return 0;
}

// The own port of what was accepted is the one that the guest listens at.
abi::CallResult SocketCalls::name(const Socket& socket, const abi::SocketCall& call) const {
  const bool of_peer = has(call, abi::socket_peer);
  KernelAddress kernel;
  const int found = of_peer ? ::getpeername(socket.fd.get(), kernel.generic(), &kernel.bytes)
                            : ::getsockname(socket.fd.get(), kernel.generic(), &kernel.bytes);
  if (found != 0) {
    return failed();
  }
  abi::SocketAddress address = guest_address(kernel);
  if (!of_peer && socket.guest_port != 0) {
    address.port = socket.guest_port;
  }
  return put_address(call, address);
}

abi::CallResult SocketCalls::error(const Socket& socket, const abi::SocketCall& call) {
  int pending = 0;
  socklen_t bytes = sizeof pending;
  const bool told = ::getsockopt(socket.fd.get(), SOL_SOCKET, SO_ERROR, &pending, &bytes) == 0;
  const abi::CallResult result = told ? pending : failed();
  look_again(socket, call.socket);
  return result;
}

// A listener's are those of what it accepts; the host's port knows nothing of them.
abi::CallResult SocketCalls::set_option(Socket& socket, const abi::SocketCall& call) {
  const bool is_connection = socket.kind == Socket::Kind::connection;
  if (!is_linger(call)) {
    if (is_connection) {
      const abi::CallResult result = set_kernel_option(socket.fd.get(), call.mode, call.value);
      look_again(socket, call.socket); // it may hold less, or more, than before
      return result;
    }
    const auto known =
        std::ranges::find(option_pairs(), abi::SocketOption{call.mode}, &OptionPair::guest);
    if (known == option_pairs().end() || call.value < 0) {
      return -EINVAL;
    }
    std::erase_if(socket.options, [&](const auto& each) { return each.first == call.mode; });
    socket.options.emplace_back(call.mode, call.value);
    return 0;
  }
  constexpr std::int64_t longest_linger_s = 65535;
  if (call.value < -1 || call.value > longest_linger_s) {
    return -EINVAL;
  }
  socket.linger = call.value;
  return is_connection ? set_kernel_linger(socket.fd.get(), call.value) : 0;
}

abi::CallResult SocketCalls::get_option(const Socket& socket, const abi::SocketCall& call) const {
  if (is_linger(call)) {
    return socket.linger;
  }
  if (socket.kind == Socket::Kind::connection) {
    return kernel_option(socket.fd.get(), call.mode);
  }
  for (const auto& [option, value] : socket.options) {
    if (option == call.mode) {
      return value;
    }
  }
  for (const HostPort& port : network_.ports()) {
    if (port.guest_port() == socket.guest_port) {
      return kernel_option(port.fd(), call.mode);
    }
  }
  return -EINVAL;
}

} // namespace vmm
