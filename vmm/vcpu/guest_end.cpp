// SPDX-License-Identifier: MIT
#include "vmm/vcpu/guest_end.hpp"

#include <sys/eventfd.h>

#include <array>
#include <cassert>

namespace vmm {

std::string_view name_of(EndKind kind) {
  constexpr std::array<std::string_view, 5> names{"exited", "panicked", "crashed", "interrupted",
                                                  "host failed"};
  return names[static_cast<std::size_t>(kind)];
}

int GuestEnding::process_status() const {
  switch (kind) {
  case EndKind::exited:
    return status;
  case EndKind::panicked:
  case EndKind::crashed:
    return 3;
  case EndKind::interrupted:
    return 128 + status;
  case EndKind::host_failed:
    return 4;
  }
  return 4;
}

Result<std::unique_ptr<GuestEnd>> GuestEnd::create() {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) {
    return system_error("eventfd");
  }
  return std::make_unique<GuestEnd>(std::move(event));
}

void GuestEnd::end(GuestEnding ending) {
  const std::scoped_lock lock(mutex_);
  if (ending_) {
    return;
  }
  ending_ = std::move(ending);
  ended_.store(true, std::memory_order_release);
  // Nobody reads the counter, so it cannot overflow: the write always succeeds.
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
  assert(written == sizeof one);
}

GuestEnding GuestEnd::ending() const {
  const std::scoped_lock lock(mutex_);
  assert(ending_.has_value());
  return *ending_;
}

} // namespace vmm
