// SPDX-License-Identifier: MIT
// Standard output, written so that a reader who stalls holds the guest back but never the end of a
// run: a guest that prints without end must not make a vmm that no signal can stop.
#pragma once

#include <atomic>
#include <string_view>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

class PatientOutput {
 public:
  // `fd` stays the caller's, as does `late_fd`, which when readable means the same as hurry() (-1:
  // there is none). Environment error when the host is out of descriptors.
  static Result<PatientOutput> create(int fd, int late_fd = -1);
  PatientOutput(PatientOutput&& other) noexcept
      : fd_(other.fd_), late_fd_(other.late_fd_), hurry_(std::move(other.hurry_)),
        lost_(other.lost_.load()), error_(other.error_.load()) {}

  // Waits until the reader has taken all of it; after hurry() only a moment, and what is left is
  // dropped then, as is everything that comes later. So it is after an error, which is kept.
  // Any thread; texts of several threads may mix in pieces of a page.
  void write(std::string_view text);

  // The first errno of a write; 0 while there is none. Any thread.
  [[nodiscard]] int error() const { return error_.load(std::memory_order_relaxed); }

  // The user wants the end. Any thread, any number of times; a write() that waits takes notice.
  void hurry();

 private:
  PatientOutput(int fd, int late_fd, Event hurry)
      : fd_(fd), late_fd_(late_fd), hurry_(std::move(hurry)) {}
  [[nodiscard]] bool await_room() const;

  int fd_;
  int late_fd_;
  Event hurry_; // readable since hurry()
  std::atomic<bool> lost_{false};
  std::atomic<int> error_{0};
};

} // namespace vmm
