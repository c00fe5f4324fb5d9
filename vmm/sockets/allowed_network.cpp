// SPDX-License-Identifier: MIT
#include "vmm/sockets/allowed_network.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "vmm/sockets/socket_address.hpp"

namespace vmm {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

Result<std::vector<abi::SocketAddress>> ends_of(const ConnectRequest& request) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = ::getaddrinfo(request.host.c_str(), nullptr, &hints, &list); error != 0) {
    return user_error("--connect {}: {:?}: {}", request.text, request.host,
                      error == EAI_SYSTEM ? errno_text(errno) : ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> owner(list);
  std::vector<abi::SocketAddress> ends;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    KernelAddress kernel;
    std::memcpy(&kernel.storage, each->ai_addr, each->ai_addrlen);
    abi::SocketAddress end = guest_address(kernel);
    end.port = request.port;
    if (end.family != 0) {
      ends.push_back(end);
    }
  }
  return ends;
}

} // namespace

Result<AllowedNetwork> AllowedNetwork::open(const NetworkRequest& request) {
  AllowedNetwork network;
  for (const ListenRequest& listen : request.listens) {
    EBB_TRY_ASSIGN(port, HostPort::take(listen));
    network.ports_.push_back(std::move(port));
  }
  for (const ConnectRequest& connect : request.connects) {
    EBB_TRY_ASSIGN(ends, ends_of(connect));
    network.ends_.insert(network.ends_.end(), ends.begin(), ends.end());
  }
  return network;
}

bool AllowedNetwork::may_connect(const abi::SocketAddress& end) const {
  return std::ranges::any_of(ends_,
                             [&](const abi::SocketAddress& each) { return same_end(each, end); });
}

} // namespace vmm
