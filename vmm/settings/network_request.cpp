// SPDX-License-Identifier: MIT
#include "vmm/settings/network_request.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "vmm/base/units.hpp"

namespace vmm {
namespace {

constexpr std::string_view default_host = "127.0.0.1";

std::optional<std::uint16_t> port_number(std::string_view text) {
  const std::optional<std::uint64_t> number = parse_number(text);
  return number && *number <= UINT16_MAX ? std::optional(static_cast<std::uint16_t>(*number))
                                         : std::nullopt;
}

// What stands before the colon that ends a host, and what behind it. IPv6's addresses have colons
// of their own, and so stand in brackets.
struct HostAndRest {
  std::string_view host;
  std::string_view rest;
};
std::optional<HostAndRest> split_host(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find("]:");
    return end == std::string_view::npos
               ? std::nullopt
               : std::optional(HostAndRest{text.substr(1, end - 1), text.substr(end + 2)});
  }
  const std::size_t colon = text.find(':');
  return colon == std::string_view::npos
             ? std::nullopt
             : std::optional(HostAndRest{text.substr(0, colon), text.substr(colon + 1)});
}

std::optional<abi::SocketAddress> numeric_address(std::string_view host) {
  const std::string text(host);
  abi::SocketAddress address;
  for (const int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, text.c_str(), &address.address) == 1) {
      address.family = static_cast<std::uint16_t>(family);
      return address;
    }
  }
  return std::nullopt;
}

bool same_place(const ListenRequest& one, const ListenRequest& other) {
  return one.host.port != 0 && one.host.port == other.host.port &&
         one.host.family == other.host.family &&
         std::ranges::equal(one.host.address, other.host.address);
}

// The later of two that are the same; null: there are none.
template <typename Each, typename Same>
const Each* repeated(const std::vector<Each>& all, Same same) {
  for (auto each = all.begin(); each != all.end(); ++each) {
    if (std::any_of(all.begin(), each, [&](const Each& earlier) { return same(earlier, *each); })) {
      return &*each;
    }
  }
  return nullptr;
}

} // namespace

Result<ListenRequest> parse_listen(std::string_view option, std::string_view text) {
  const auto nonsense = [&] {
    return user_error("{} {:?}: must be [HOST:]PORT[:GUESTPORT], HOST an address such as 127.0.0.1 "
                      "or [::1], PORT from 0 (any free one) to 65535, GUESTPORT from 1",
                      option, text);
  };
  std::string_view host = default_host;
  std::string_view ports = text;
  // A number in front is a port.
  if (const auto split = split_host(text); split && !parse_number(split->host)) {
    host = split->host;
    ports = split->rest;
  }
  const std::size_t colon = ports.find(':');
  const auto port = port_number(ports.substr(0, colon));
  const auto guest_port =
      colon == std::string_view::npos ? port : port_number(ports.substr(colon + 1));
  auto address = numeric_address(host);
  if (!address || !port || !guest_port) {
    return nonsense();
  }
  if (*guest_port == 0) {
    return *port == 0 && colon == std::string_view::npos
               ? user_error("{} {:?}: any free port for which of the guest's? write {}:GUESTPORT",
                            option, text, text)
               : nonsense();
  }
  address->port = *port;
  return ListenRequest{std::string(text), *address, *guest_port};
}

Result<ConnectRequest> parse_connect(std::string_view option, std::string_view text) {
  const auto split = split_host(text);
  const auto port = split ? port_number(split->rest) : std::nullopt;
  if (!port || *port == 0 || split->host.empty() || split->host.contains('\0')) {
    return user_error("{} {:?}: must be HOST:PORT, HOST a name or an address, such as [::1] if it "
                      "is IPv6's, PORT from 1 to 65535",
                      option, text);
  }
  return ConnectRequest{std::string(text), std::string(split->host), *port};
}

Result<void> check_network(const NetworkRequest& request) {
  if (const auto* const twice = repeated(request.listens, same_place)) {
    return user_error("--listen {}: that port is given twice; leave out one of them", twice->text);
  }
  const auto* const twice =
      repeated(request.connects, [](const ConnectRequest& one, const ConnectRequest& other) {
        return one.host == other.host && one.port == other.port;
      });
  return twice == nullptr
             ? Result<void>{}
             : user_error("--connect {}: given twice; leave out one of them", twice->text);
}

} // namespace vmm
