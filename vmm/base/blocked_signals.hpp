// SPDX-License-Identifier: MIT
// The signals that the vmm acts on, as a descriptor instead of handlers.
#pragma once

#include <csignal>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

// Blocks SIGINT, SIGTERM and `toggle` for the calling thread and every thread that it starts
// afterwards, so make it before any other: one thread that does not block them would be ended by
// them, and with it the process. Restores the mask of the calling thread at its end.
class BlockedSignals {
 public:
  // Switches reporting off and on.
  static constexpr int toggle = SIGUSR2;

  static Result<BlockedSignals> create();
  BlockedSignals(BlockedSignals&& other) noexcept = default;
  BlockedSignals& operator=(BlockedSignals&&) = delete;
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  ~BlockedSignals();

  // From now on SIGINT and SIGTERM have their usual effect on the calling thread; one that has
  // arrived meanwhile has it at once.
  static void unblock_ending();

  // Readable when a signal has arrived.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // The signal that arrived; 0 if none.
  [[nodiscard]] int take() const;

 private:
  BlockedSignals(UniqueFd fd, const sigset_t& previous) : fd_(std::move(fd)), previous_(previous) {}

  UniqueFd fd_;
  sigset_t previous_;
};

} // namespace vmm
