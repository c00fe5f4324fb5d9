// SPDX-License-Identifier: MIT
// Where sockets come from and go, and what becomes ready. What is done with one is in
// socket_calls_connections.cpp.
#include "vmm/sockets/socket_calls.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vmm/calls/call_result.hpp"
#include "vmm/sockets/socket_address.hpp"
#include "vmm/sockets/socket_options.hpp"

namespace vmm {
namespace {

constexpr std::uint32_t known_socket_flags = abi::socket_more | abi::socket_peek | abi::socket_peer;
// Of one visit; what remains is there at the next.
constexpr std::size_t events_at_a_time = 64;

// The events of epoll have the values of poll(2).
static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLRDHUP == POLLRDHUP &&
              EPOLLHUP == POLLHUP && EPOLLERR == POLLERR);
std::uint32_t readiness_of(std::uint32_t events) {
  const auto bit = [events](std::uint32_t event, std::uint32_t as) {
    return (events & event) != 0 ? as : 0U;
  };
  return bit(EPOLLIN, abi::socket_readable) | bit(EPOLLOUT, abi::socket_writable) |
         bit(EPOLLRDHUP, abi::socket_ended) | bit(EPOLLHUP, abi::socket_hung_up) |
         bit(EPOLLERR, abi::socket_failed);
}

std::uint32_t poll_readiness(int fd) {
  pollfd polled{fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  return ::poll(&polled, 1, 0) == 1 ? readiness_of(static_cast<std::uint32_t>(polled.revents)) : 0;
}

} // namespace

Result<SocketCalls> SocketCalls::create(AllowedNetwork network, const GuestMemory& memory,
                                        std::function<void()> interrupt) {
  UniqueFd events(::epoll_create1(EPOLL_CLOEXEC));
  if (!events.valid()) {
    return system_error("cannot make a descriptor for sockets");
  }
  return SocketCalls(std::move(network), memory, std::move(interrupt), std::move(events));
}

abi::CallResult SocketCalls::perform(const abi::SocketCall& call) {
  if ((call.flags & ~known_socket_flags) != 0 || call.buffer_bytes > abi::socket_transfer_bytes ||
      (call.operation == abi::SocketOperation::start) == table_.is_told()) {
    return -EINVAL;
  }
  if (buffer_of(call).size() != call.buffer_bytes) {
    return -EFAULT;
  }
  switch (call.operation) {
  case abi::SocketOperation::start:
    return start(call);
  case abi::SocketOperation::listen:
    return listen(call);
  case abi::SocketOperation::connect:
    return connect(call);
  default:
    break;
  }
  Socket* const socket = table_.find(call.socket);
  if (socket == nullptr) {
    return -EBADF;
  }
  return socket->kind == Socket::Kind::connection ? perform_on(*socket, call)
                                                  : perform_on_listener(*socket, call);
}

std::span<std::byte> SocketCalls::buffer_of(const abi::SocketCall& call) const {
  return call.buffer_bytes == 0 ? std::span<std::byte>{}
                                : memory_.at({call.buffer_gpa}, call.buffer_bytes);
}

abi::CallResult SocketCalls::start(const abi::SocketCall& call) {
  auto* const board = memory_.object_at<abi::SocketBoard>({call.buffer_gpa});
  if (board == nullptr || call.buffer_gpa % 64 != 0 ||
      call.buffer_bytes < sizeof(abi::SocketBoard)) {
    return -EINVAL;
  }
  table_.tell_on(*board);
  return 0;
}

// ---- listening ---------------------------------------------------------------------------------

bool SocketCalls::is_listened_at(std::uint16_t guest_port) {
  for (std::uint32_t number = 0; number < abi::max_sockets; ++number) {
    const Socket* const socket = table_.find(number);
    if (socket != nullptr && socket->kind == Socket::Kind::listener &&
        socket->guest_port == guest_port) {
      return true;
    }
  }
  return false;
}

abi::CallResult SocketCalls::listen(const abi::SocketCall& call) {
  if (call.value < 0 || call.value > UINT16_MAX) {
    return -EINVAL;
  }
  const auto guest_port = static_cast<std::uint16_t>(call.value);
  if (std::ranges::find(network_.ports(), guest_port, &HostPort::guest_port) ==
      network_.ports().end()) {
    return -EACCES;
  }
  if (is_listened_at(guest_port)) {
    return -EADDRINUSE;
  }
  const auto number = table_.free_number();
  if (!number) {
    return -EMFILE;
  }
  for (const HostPort& port : network_.ports()) {
    int error = port.guest_port() == guest_port ? port.listen(call.mode) : 0;
    if (error == 0 && port.guest_port() == guest_port) {
      error = watch(port.fd(), *number);
    }
    if (error != 0) {
      refuse(guest_port);
      return -error;
    }
  }
  table_.put(*number, {.kind = Socket::Kind::listener, .guest_port = guest_port});
  table_.set_ready(*number, 0);
  return *number;
}

void SocketCalls::refuse(std::uint16_t guest_port) const {
  for (const HostPort& port : network_.ports()) {
    if (port.guest_port() == guest_port) {
      static_cast<void>(::epoll_ctl(events_.get(), EPOLL_CTL_DEL, port.fd(), nullptr));
      port.refuse();
    }
  }
}

abi::CallResult SocketCalls::perform_on_listener(Socket& socket, const abi::SocketCall& call) {
  switch (call.operation) {
  case abi::SocketOperation::accept:
    return accept(socket, call);
  case abi::SocketOperation::shutdown:
    return stop_listening(socket, call);
  case abi::SocketOperation::close:
    return close(socket, call.socket);
  case abi::SocketOperation::error:
    return 0;
  case abi::SocketOperation::set_option:
    return set_option(socket, call);
  case abi::SocketOperation::get_option:
    return get_option(socket, call);
  case abi::SocketOperation::send:
    return -EPIPE;
  case abi::SocketOperation::receive:
  case abi::SocketOperation::name:
    return -ENOTCONN;
  case abi::SocketOperation::readable_bytes:
    return -EINVAL;
  case abi::SocketOperation::start:
  case abi::SocketOperation::listen:
  case abi::SocketOperation::connect:
    break; // of no socket
  }
  return -ENOSYS;
}

abi::CallResult SocketCalls::accept(const Socket& listener, const abi::SocketCall& call) {
  if (listener.kind != Socket::Kind::listener ||
      (call.buffer_bytes != 0 && call.buffer_bytes < sizeof(abi::SocketAddress))) {
    return -EINVAL;
  }
  const auto number = table_.free_number();
  if (!number) {
    return -EMFILE;
  }
  abi::CallResult result = -EAGAIN;
  for (const HostPort& port : network_.ports()) {
    if (port.guest_port() != listener.guest_port) {
      continue;
    }
    KernelAddress peer;
    UniqueFd fd(::accept4(port.fd(), peer.generic(), &peer.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC));
    result = fd.valid() ? 0 : failed();
    if (result == 0) {
      for (const auto& [option, value] : listener.options) {
        static_cast<void>(set_kernel_option(fd.get(), option, value));
      }
      static_cast<void>(set_kernel_linger(fd.get(), listener.linger));
      result = add(*number, {.kind = Socket::Kind::connection,
                             .fd = std::move(fd),
                             .guest_port = listener.guest_port,
                             .linger = listener.linger});
      static_cast<void>(call.buffer_bytes != 0 ? put_address(call, guest_address(peer)) : 0);
    }
    if (result != -EAGAIN) {
      break;
    }
  }
  look_again(listener, call.socket);
  return result;
}

abi::CallResult SocketCalls::stop_listening(Socket& listener, const abi::SocketCall& call) {
  if (call.mode > SHUT_RDWR) {
    return -EINVAL;
  }
  if (listener.kind == Socket::Kind::stopped) {
    return -ENOTCONN;
  }
  if (call.mode != SHUT_WR) {
    refuse(listener.guest_port);
    listener.kind = Socket::Kind::stopped;
    table_.changed(call.socket, readiness(listener));
  }
  return 0;
}

// ---- connections -------------------------------------------------------------------------------

abi::CallResult SocketCalls::connect(const abi::SocketCall& call) {
  abi::SocketAddress end;
  if (call.buffer_bytes < sizeof end) {
    return -EINVAL;
  }
  std::memcpy(&end, buffer_of(call).data(), sizeof end);
  const auto address = kernel_address(end);
  if (!address) {
    return -EAFNOSUPPORT;
  }
  if (!network_.may_connect(end)) {
    return -EACCES;
  }
  const auto number = table_.free_number();
  if (!number) {
    return -EMFILE;
  }
  UniqueFd fd(::socket(end.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid() || (::connect(fd.get(), address->generic(), address->bytes) != 0 &&
                      errno != EINPROGRESS && errno != EINTR)) {
    return failed();
  }
  return add(*number, {.kind = Socket::Kind::connection, .fd = std::move(fd)});
}

abi::CallResult SocketCalls::add(std::uint32_t number, Socket socket) {
  if (const int error = watch(socket.fd.get(), number); error != 0) {
    return -error;
  }
  table_.put(number, std::move(socket));
  look_again(*table_.find(number), number);
  return number;
}

// The kernel forgets a connection's descriptor as it is closed, so that no event comes after that:
// numbers may be given anew at once.
abi::CallResult SocketCalls::close(Socket& socket, std::uint32_t number) {
  if (socket.kind == Socket::Kind::listener) {
    refuse(socket.guest_port);
  }
  table_.drop(number);
  return 0;
}

// ---- what becomes ready ------------------------------------------------------------------------

int SocketCalls::watch(int fd, std::uint32_t number) const {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u32 = number;
  return ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

std::uint32_t SocketCalls::readiness(const Socket& socket) const {
  switch (socket.kind) {
  case Socket::Kind::none:
    return 0;
  case Socket::Kind::connection:
    return poll_readiness(socket.fd.get());
  case Socket::Kind::stopped:
    return abi::socket_writable | abi::socket_hung_up; // as the kernel has it
  case Socket::Kind::listener:
    break;
  }
  std::uint32_t ready = 0;
  for (const HostPort& port : network_.ports()) {
    if (port.guest_port() == socket.guest_port) {
      ready |= poll_readiness(port.fd()) & abi::socket_readable;
    }
  }
  return ready;
}

// An edge says all that its connection is ready for by now; a listener may have several ports.
bool SocketCalls::take_events() {
  std::array<epoll_event, events_at_a_time> events{};
  const int count = ::epoll_wait(events_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int index = 0; index < count; ++index) {
    const epoll_event& event = events.at(static_cast<std::size_t>(index));
    Socket* const socket = table_.find(event.data.u32);
    if (socket == nullptr) {
      continue;
    }
    socket->urgent = socket->urgent || (event.events & EPOLLPRI) != 0;
    table_.changed(event.data.u32, socket->kind == Socket::Kind::connection
                                       ? readiness_of(event.events)
                                       : readiness(*socket));
  }
  return count > 0;
}

} // namespace vmm
