// SPDX-License-Identifier: MIT
// Carries out socket calls of a guest (shared/socket_call.hpp): the only place where what a program
// in the guest says reaches the host's network.
//
// A call is a private copy. Numbers index a table of our own; only what AllowedNetwork has is
// listened at and connected to. Nothing waits: all sockets are non-blocking, and what becomes ready
// is an event of one epoll descriptor. Anything else is answered with an error number; it is never
// an error of the host's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "shared/socket_call.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/sockets/allowed_network.hpp"
#include "vmm/sockets/socket_table.hpp"

namespace vmm {

class SocketCalls {
 public:
  // `memory` outlives this. `interrupt` is called when the guest waits for a change. Environment
  // error when the host has no descriptor to give.
  static Result<SocketCalls> create(AllowedNetwork network, const GuestMemory& memory,
                                    std::function<void()> interrupt);

  // On one thread, as what follows. Negative error numbers for whatever is wrong with the call.
  [[nodiscard]] abi::CallResult perform(const abi::SocketCall& call);

  // Readable while there are events.
  [[nodiscard]] int events_fd() const { return events_.get(); }
  // Tells on the board what has happened; a bounded part of it. False: nothing has.
  [[nodiscard]] bool take_events();

 private:
  SocketCalls(AllowedNetwork network, const GuestMemory& memory, std::function<void()> interrupt,
              UniqueFd events)
      : network_(std::move(network)), memory_(memory), events_(std::move(events)),
        table_(std::move(interrupt)) {}

  // The memory that a call names, or nothing; perform() has checked it.
  [[nodiscard]] std::span<std::byte> buffer_of(const abi::SocketCall& call) const;
  [[nodiscard]] abi::CallResult put_address(const abi::SocketCall& call,
                                            const abi::SocketAddress& address) const;

  [[nodiscard]] abi::CallResult start(const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult listen(const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult connect(const abi::SocketCall& call);
  // Of a number that is somebody's.
  [[nodiscard]] abi::CallResult perform_on(Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult perform_on_listener(Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult accept(const Socket& listener, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult send(const Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult receive(const Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult shut_down(const Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult stop_listening(Socket& listener, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult close(Socket& socket, std::uint32_t number);
  [[nodiscard]] abi::CallResult name(const Socket& socket, const abi::SocketCall& call) const;
  [[nodiscard]] abi::CallResult error(const Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult set_option(Socket& socket, const abi::SocketCall& call);
  [[nodiscard]] abi::CallResult get_option(const Socket& socket, const abi::SocketCall& call) const;

  [[nodiscard]] bool is_listened_at(std::uint16_t guest_port);
  // Takes in a connection's descriptor under `number`.
  [[nodiscard]] abi::CallResult add(std::uint32_t number, Socket socket);
  // From now on events of `fd` are those of socket `number`.
  [[nodiscard]] int watch(int fd, std::uint32_t number) const;
  // The host ports of a port of the guest's refuse again.
  void refuse(std::uint16_t guest_port) const;
  // What it is ready for just now.
  [[nodiscard]] std::uint32_t readiness(const Socket& socket) const;
  void look_again(const Socket& socket, std::uint32_t number) {
    table_.set_ready(number, readiness(socket));
  }

  AllowedNetwork network_;
  const GuestMemory& memory_;
  UniqueFd events_; // epoll; of each socket the edges
  SocketTable table_;
};

} // namespace vmm
