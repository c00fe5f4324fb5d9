// SPDX-License-Identifier: MIT
#include "vmm/base/event.hpp"

#include <sys/eventfd.h>

namespace vmm {

Result<Event> Event::create(std::string_view whose) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) {
    return system_error("cannot make an event for {}", whose);
  }
  return Event(std::move(fd));
}

void Event::set() const {
  // A counter that is full has been set already.
  static_cast<void>(::eventfd_write(fd_.get(), 1));
}

void Event::clear() const {
  eventfd_t count = 0;
  static_cast<void>(::eventfd_read(fd_.get(), &count)); // it may be clear
}

} // namespace vmm
