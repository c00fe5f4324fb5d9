// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_table.hpp"

#include <algorithm>
#include <atomic>

namespace vmm {

void SocketTable::tell_on(abi::SocketBoard& board) {
  board_ = &board;
  for (std::uint32_t number = 0; number < entries_.size(); ++number) {
    set_ready(number, 0);
  }
}

std::optional<std::uint32_t> SocketTable::free_number() const {
  const auto found = std::ranges::find_if(
      entries_, [](const Entry& entry) { return entry.socket.kind == Socket::Kind::none; });
  return found == entries_.end()
             ? std::nullopt
             : std::optional(static_cast<std::uint32_t>(found - entries_.begin()));
}

Socket* SocketTable::find(std::uint32_t number) {
  return number < entries_.size() && entries_[number].socket.kind != Socket::Kind::none
             ? &entries_[number].socket
             : nullptr;
}

void SocketTable::drop(std::uint32_t number) {
  put(number, {});
  set_ready(number, 0);
}

// Whoever sees that `changes` has grown sees what there is to see.
void SocketTable::set_ready(std::uint32_t number, std::uint32_t ready) {
  Entry& entry = entries_[number];
  entry.ready = ready;
  abi::SocketState& state = board_->states[number];
  std::atomic_ref(state.ready).store(ready, std::memory_order_seq_cst);
  std::atomic_ref(state.changes).store(entry.changes, std::memory_order_seq_cst);
}

// In one order with the guest, which says that it waits and then looks once more.
void SocketTable::changed(std::uint32_t number, std::uint32_t ready) {
  ++entries_[number].changes;
  set_ready(number, ready);
  if (std::atomic_ref(board_->waits).exchange(0, std::memory_order_seq_cst) != 0) {
    interrupt_();
  }
}

} // namespace vmm
