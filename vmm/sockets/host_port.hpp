// SPDX-License-Identifier: MIT
// A TCP port of the host's whose connections are the guest's (--listen). It is this process's from
// the beginning, but takes connections only while the guest listens: clients are refused before and
// afterwards, as they would be by a machine of its own.
#pragma once

#include <cstdint>

#include "shared/socket_call.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/settings/network_request.hpp"

namespace vmm {

class HostPort {
 public:
  // User error for a port that somebody else has, or may not be had. No descriptor is inherited.
  static Result<HostPort> take(const ListenRequest& request);

  // For accept and poll.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const abi::SocketAddress& address() const { return address_; }
  [[nodiscard]] std::uint16_t guest_port() const { return guest_port_; }
  // Whether the user has left the port to the host.
  [[nodiscard]] bool was_chosen() const { return chosen_; }

  // Takes connections from now on; so many may wait. 0, or an error number.
  [[nodiscard]] int listen(unsigned waiting) const;
  // Takes none any more, and resets those that wait. Those that were accepted stay.
  void refuse() const;

 private:
  HostPort(UniqueFd fd, const abi::SocketAddress& address, std::uint16_t guest_port, bool chosen)
      : fd_(std::move(fd)), address_(address), guest_port_(guest_port), chosen_(chosen) {}

  UniqueFd fd_;
  abi::SocketAddress address_;
  std::uint16_t guest_port_;
  bool chosen_;
};

} // namespace vmm
