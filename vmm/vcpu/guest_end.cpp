// SPDX-License-Identifier: MIT
#include "vmm/vcpu/guest_end.hpp"

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
  EBB_TRY_ASSIGN(event, Event::create("the guest's end"));
  return std::make_unique<GuestEnd>(std::move(event));
}

void GuestEnd::end(GuestEnding ending) {
  const std::scoped_lock lock(mutex_);
  if (ending_) {
    return;
  }
  ending_ = std::move(ending);
  ended_.store(true, std::memory_order_release);
  event_.set();
}

GuestEnding GuestEnd::ending() const {
  const std::scoped_lock lock(mutex_);
  assert(ending_.has_value());
  return *ending_;
}

} // namespace vmm
