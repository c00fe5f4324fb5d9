// SPDX-License-Identifier: MIT
#include "vmm/sockets/host_port.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "vmm/sockets/socket_address.hpp"

namespace vmm {
namespace {

constexpr int choices = 16; // before it is given up that somebody else takes what was free

// While a socket may share its address, others that say the same may bind to it, unless it listens.
// It has to when it is bound, or connections of a run that has just ended block the port for a
// minute, and when it listens again, for connections of its own.
bool let_share(int fd, int may) {
  return ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &may, sizeof may) == 0;
}

UniqueFd make_socket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (family == AF_INET6 && // [::] is not 0.0.0.0, which may be given, too
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
    return {};
  }
  return fd;
}

// 0, or an error number. That it can listen shows that it is nobody else's.
int take_port(int fd, const KernelAddress& address) {
  if (!let_share(fd, 1) || ::bind(fd, address.generic(), address.bytes) != 0 ||
      ::listen(fd, 1) != 0 || !let_share(fd, 0) || ::shutdown(fd, SHUT_RDWR) != 0) {
    return errno;
  }
  return 0;
}

// A port that is free just now; 0: there is none. A socket whose port the kernel has chosen loses
// it when it stops listening, so it is not the one.
std::uint16_t free_port(abi::SocketAddress address) {
  address.port = 0;
  KernelAddress kernel = kernel_address(address).value();
  const UniqueFd fd = make_socket(address.family);
  if (::bind(fd.get(), kernel.generic(), kernel.bytes) != 0 ||
      ::getsockname(fd.get(), kernel.generic(), &kernel.bytes) != 0) {
    return 0;
  }
  return guest_address(kernel).port;
}

std::string_view what_to_do(int error) {
  switch (error) {
  case EADDRINUSE:
    return "; end whoever has it, or take another PORT: 0 is any free one";
  case EADDRNOTAVAIL:
    return "; HOST must be an address of this machine";
  case EACCES:
    return "; ordinary users take ports from 1024";
  default:
    return "";
  }
}

} // namespace

Result<HostPort> HostPort::take(const ListenRequest& request) {
  abi::SocketAddress address = request.host;
  const bool chosen = address.port == 0;
  int error = 0;
  for (int choice = 0; choice < choices; ++choice) {
    if (chosen) {
      address.port = free_port(request.host);
    }
    UniqueFd fd = make_socket(address.family);
    error = fd.valid() ? take_port(fd.get(), kernel_address(address).value()) : errno;
    if (error == 0) {
      return HostPort(std::move(fd), address, request.guest_port, chosen);
    }
    if (!chosen || error != EADDRINUSE) {
      break;
    }
  }
  return user_error("--listen {}: {}{}", request.text, errno_text(error), what_to_do(error));
}

int HostPort::listen(unsigned waiting) const {
  if (!let_share(fd_.get(), 1) ||
      ::listen(fd_.get(), static_cast<int>(std::min<unsigned>(waiting, SOMAXCONN))) != 0) {
    return errno;
  }
  return 0;
}

void HostPort::refuse() const {
  static_cast<void>(let_share(fd_.get(), 0));
  static_cast<void>(::shutdown(fd_.get(), SHUT_RDWR));
}

} // namespace vmm
