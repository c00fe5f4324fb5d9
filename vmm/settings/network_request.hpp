// SPDX-License-Identifier: MIT
// What a user lets a program in the guest do with TCP: --listen and --connect, all that there is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shared/socket_call.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

// --listen [HOST:]PORT[:GUESTPORT]: connections to a port of the host's are the guest's.
struct ListenRequest {
  std::string text;        // as given
  abi::SocketAddress host; // port 0: any that is free
  std::uint16_t guest_port = 0;
};

// --connect HOST:PORT: the guest may begin connections to there.
struct ConnectRequest {
  std::string text; // as given
  std::string host; // an address or a name
  std::uint16_t port = 0;
};

struct NetworkRequest {
  std::vector<ListenRequest> listens;
  std::vector<ConnectRequest> connects;

  [[nodiscard]] bool any() const { return !listens.empty() || !connects.empty(); }
};

// Errors begin with `option`, here and below. HOST is an address, with brackets if it is IPv6's,
// and 127.0.0.1 where it is not given.
[[nodiscard]] Result<ListenRequest> parse_listen(std::string_view option, std::string_view text);
[[nodiscard]] Result<ConnectRequest> parse_connect(std::string_view option, std::string_view text);
// That nothing is given twice.
[[nodiscard]] Result<void> check_network(const NetworkRequest& request);

} // namespace vmm
