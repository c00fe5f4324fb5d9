// SPDX-License-Identifier: MIT
// How a run ends. The first ending wins and stops every vCPU; later ones are consequences of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

enum class EndKind : std::uint8_t {
  exited,      // the guest asked for it; its status counts
  panicked,    // the guest found its own invariant broken
  crashed,     // the guest can go no further: unhandled trap, triple fault, forbidden access
  interrupted, // by a signal
  host_failed, // a call of the host's failed
};

[[nodiscard]] std::string_view name_of(EndKind kind);

struct GuestEnding {
  EndKind kind = EndKind::exited;
  std::uint8_t status = 0;        // exited: the guest's status; interrupted: the signal's number
  std::string text;               // what happened, possibly several lines; mostly empty for exited
  std::optional<unsigned> vcpu{}; // that crashed, if it was one

  // Exit status of the vmm: the guest's own, 3 for a panic or crash, 4 for a host failure,
  // 128 + signal when interrupted.
  [[nodiscard]] int process_status() const;
};

class GuestEnd {
 public:
  // Environment error when the host is out of descriptors.
  static Result<std::unique_ptr<GuestEnd>> create();
  explicit GuestEnd(Event event) : event_(std::move(event)) {}

  // Records the ending unless there is one, and wakes whoever waits on stop_fd(). Any thread.
  void end(GuestEnding ending);
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  // Readable from the first end() on; never emptied.
  [[nodiscard]] int stop_fd() const { return event_.fd(); }
  // Only once ended().
  [[nodiscard]] GuestEnding ending() const;

 private:
  Event event_;
  std::atomic<bool> ended_{false};
  mutable std::mutex mutex_;
  std::optional<GuestEnding> ending_; // guarded by mutex_
};

} // namespace vmm
