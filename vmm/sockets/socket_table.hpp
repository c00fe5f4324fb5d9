// SPDX-License-Identifier: MIT
// A guest's sockets by their numbers, and what each is ready for: kept here, and told on the board
// (shared/socket_call.hpp), which is guest memory and nobody's word.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "shared/socket_call.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

struct Socket {
  enum class Kind : std::uint8_t {
    none,
    connection,
    listener, // its host ports are in AllowedNetwork; `fd` is invalid
    stopped,  // a listener that was shut down
  };
  Kind kind = Kind::none;
  UniqueFd fd{};
  std::uint16_t guest_port = 0; // of a listener, and of what it has accepted
  std::int64_t linger = -1;     // abi::SocketOption::linger
  // What connections that a listener accepts begin with.
  std::vector<std::pair<std::uint32_t, std::int64_t>> options{};
  // Out-of-band data have come once: what is received may then end anywhere.
  bool urgent = false;
};

class SocketTable {
 public:
  // `interrupt` is called when the guest waits for a change.
  explicit SocketTable(std::function<void()> interrupt)
      : interrupt_(std::move(interrupt)), entries_(abi::max_sockets) {}

  // Begins to write to `board`, which outlives this.
  void tell_on(abi::SocketBoard& board);
  [[nodiscard]] bool is_told() const { return board_ != nullptr; }

  // A number that is free; nothing: there is none.
  [[nodiscard]] std::optional<std::uint32_t> free_number() const;
  // Null unless it is somebody's.
  [[nodiscard]] Socket* find(std::uint32_t number);
  // `number` is free, or becomes so.
  void put(std::uint32_t number, Socket socket) { entries_[number].socket = std::move(socket); }
  void drop(std::uint32_t number);

  [[nodiscard]] std::uint32_t ready(std::uint32_t number) const { return entries_[number].ready; }
  // What a socket is ready for (abi::SocketReadiness), after a call or, with `changed`, because
  // something has happened: whoever waits is interrupted then.
  void set_ready(std::uint32_t number, std::uint32_t ready);
  void changed(std::uint32_t number, std::uint32_t ready);

 private:
  struct Entry {
    Socket socket;
    std::uint32_t ready = 0;
    std::uint32_t changes = 0; // goes on from one owner of a number to the next
  };

  std::function<void()> interrupt_;
  std::vector<Entry> entries_; // never grows
  abi::SocketBoard* board_ = nullptr;
};

} // namespace vmm
