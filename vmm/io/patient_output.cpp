// SPDX-License-Identifier: MIT
#include "vmm/io/patient_output.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>

namespace vmm {
namespace {

// For a reader that is only slow, when the user wants the end.
constexpr int hurried_wait_ms = 200;

// A pipe that poll calls writable takes that much without blocking.
constexpr std::size_t piece_bytes = PIPE_BUF;

} // namespace

Result<PatientOutput> PatientOutput::create(int fd, int late_fd) {
  EBB_TRY_ASSIGN(hurry, Event::create("the output"));
  return PatientOutput(fd, late_fd, std::move(hurry));
}

void PatientOutput::hurry() {
  hurry_.set(); // for good
}

// False: nobody takes it, and nobody wants to wait any longer.
bool PatientOutput::await_room() const {
  std::array<pollfd, 3> events{pollfd{fd_, POLLOUT, 0}, pollfd{hurry_.fd(), POLLIN, 0},
                               pollfd{late_fd_, POLLIN, 0}};
  for (;;) {
    const int ready = ::poll(events.data(), events.size(), -1);
    if (ready < 0 && errno == EINTR) {
      continue;
    }
    if (ready < 0 || events[0].revents != 0) {
      return true; // errors are for write to find
    }
    int waited = -1;
    do {
      waited = ::poll(events.data(), 1, hurried_wait_ms);
    } while (waited < 0 && errno == EINTR);
    return waited > 0;
  }
}

void PatientOutput::write(std::string_view text) {
  while (!text.empty() && !lost_.load(std::memory_order_relaxed)) {
    if (!await_room()) {
      lost_.store(true, std::memory_order_relaxed);
      return;
    }
    const ssize_t written = ::write(fd_, text.data(), std::min(text.size(), piece_bytes));
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0 || (errno != EINTR && errno != EAGAIN)) {
      int none = 0;
      error_.compare_exchange_strong(none, written == 0 ? EIO : errno);
      lost_.store(true, std::memory_order_relaxed);
      return;
    }
  }
}

} // namespace vmm
