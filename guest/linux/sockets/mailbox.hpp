// SPDX-License-Identifier: MIT
// Where the messages of a datagram socket wait: what others know of it, and keep when it is gone.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "guest/linux/sockets/socket.hpp"

namespace guest::linux {

struct Mailbox {
  struct Message {
    std::vector<std::byte> bytes;
    Socket::Files files;
    std::shared_ptr<Mailbox> from;

    // As Linux counts it: what is allocated for it.
    [[nodiscard]] std::uint64_t cost() const;
  };

  // More wait only from the one that it is connected to (net.unix.max_dgram_qlen, and one).
  static constexpr std::size_t most_messages = 11;
  [[nodiscard]] bool is_full_for(const Mailbox& sender) const {
    return this != &sender && peer.get() != &sender && messages.size() >= most_messages;
  }
  // Who is connected hears from that one alone.
  [[nodiscard]] bool hears(const Mailbox& sender) const {
    return peer == nullptr || peer.get() == &sender;
  }
  // The first message, or all; their senders have room again.
  [[nodiscard]] Message take();
  void drop_all();

  SocketName name;
  std::shared_ptr<Mailbox> peer; // where messages without a name go; null: nowhere
  std::deque<Message> messages;
  std::uint64_t sent_cost = 0; // of own messages that wait elsewhere
  bool is_open = true;
  bool reads = true;
  bool writes = true;
  int error = 0;
  std::uint64_t arrivals = 0; // of messages and ends
  std::uint64_t releases = 0; // of own messages that were taken, and ends
  std::uint64_t taken = 0;    // messages, ever
};

} // namespace guest::linux
