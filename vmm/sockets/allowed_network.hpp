// SPDX-License-Identifier: MIT
// All that a guest can reach by TCP, made before it runs: the host's ports that are its own, and
// the ends that it may connect to. Names are resolved here, once.
#pragma once

#include <span>
#include <vector>

#include "shared/socket_call.hpp"
#include "vmm/base/result.hpp"
#include "vmm/settings/network_request.hpp"
#include "vmm/sockets/host_port.hpp"

namespace vmm {

class AllowedNetwork {
 public:
  // User error for a port that cannot be had, and a name that means nothing.
  static Result<AllowedNetwork> open(const NetworkRequest& request);

  // Several may be for one port of the guest's.
  [[nodiscard]] std::span<const HostPort> ports() const { return ports_; }
  // Exactly this end, as it stands there: an IPv6 address that means an IPv4 one is none.
  [[nodiscard]] bool may_connect(const abi::SocketAddress& end) const;

 private:
  std::vector<HostPort> ports_;
  std::vector<abi::SocketAddress> ends_;
};

} // namespace vmm
