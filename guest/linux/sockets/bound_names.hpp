// SPDX-License-Identifier: MIT
// Which names of sockets are taken in the guest, and who listens there. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/sockets/socket_name.hpp"

namespace guest::linux {

class ListeningSocket;
struct Mailbox;

// A name that is a socket's for as long as it holds this.
struct BoundName {
  SocketName name;
  bool reuses_address = false;
  bool reuses_port = false;
  bool is_version_6_only = false;
  ListeningSocket* listener = nullptr; // who takes connections; null: nobody
  std::weak_ptr<Mailbox> mailbox{};    // of who takes datagrams
};

class BoundNames {
 public:
  // A port of 0 becomes one that is free. EADDRINUSE; EADDRNOTAVAIL: the guest has no such address.
  [[nodiscard]] Or<std::shared_ptr<BoundName>> take(const BoundName& wanted);
  // Whether somebody may listen there: EADDRINUSE when somebody does.
  [[nodiscard]] int may_listen(const BoundName& name);
  // Null: nobody listens at that address.
  [[nodiscard]] ListeningSocket* listener_at(const SocketName& name);
  // Where messages to that name go. ECONNREFUSED: nobody has it; EPROTOTYPE: no datagrams are taken
  // there.
  [[nodiscard]] Or<std::shared_ptr<Mailbox>> mailbox_at(const SocketName& name);
  // Whether the name is anybody's.
  [[nodiscard]] bool is_taken(const SocketName& name);

 private:
  using Names = std::vector<std::weak_ptr<BoundName>>;

  [[nodiscard]] bool collides(const BoundName& wanted);
  // Of those that are still somebody's.
  template <typename Test> [[nodiscard]] std::shared_ptr<BoundName> find(Test test);

  Names names_;
  std::uint32_t next_port_ = 0;      // of those to be had, counted from the first
  std::uint32_t next_unix_name_ = 0; // likewise
};

} // namespace guest::linux
