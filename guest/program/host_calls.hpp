// SPDX-License-Identifier: MIT
// A program's calls to the host, by the calling vCPU's mailboxes (shared/call_mailbox.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/kernel/kernel.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/sockets/socket_port.hpp"

namespace guest {

class FileMailbox final : public linux::FilePort {
 public:
  // `calls` counts them.
  FileMailbox(Kernel& kernel, std::uint64_t& calls) : kernel_(kernel), calls_(calls) {}

  [[nodiscard]] abi::FileResult perform(const abi::FileCall& call) override;

 private:
  Kernel& kernel_;
  std::uint64_t& calls_;
};

class SocketMailbox final : public linux::SocketPort {
 public:
  // `calls` counts them. Nothing is asked before start().
  SocketMailbox(Kernel& kernel, std::uint64_t& calls) : kernel_(kernel), calls_(calls) {}

  // Tells the host where its board is, once. Whether it has taken it; never where it has no
  // sockets.
  [[nodiscard]] bool start();

  [[nodiscard]] abi::CallResult perform(const abi::SocketCall& call) override;
  [[nodiscard]] abi::SocketState state(std::uint32_t socket) const override;
  void watch(std::uint32_t socket, std::uint32_t ready) override;

 private:
  static constexpr std::size_t board_alignment = 64;

  [[nodiscard]] abi::SocketBoard& board() const;

  Kernel& kernel_;
  std::uint64_t& calls_;
  mutable std::byte room_[sizeof(abi::SocketBoard) + board_alignment]; // the host writes there
};

} // namespace guest
