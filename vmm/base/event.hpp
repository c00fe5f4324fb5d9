// SPDX-License-Identifier: MIT
// Something that has happened, as a descriptor that poll() can wait for (eventfd(2)).
#pragma once

#include <string_view>
#include <utility>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

class Event {
 public:
  // Environment error when the host has no descriptor to give for `whose` ("the control socket").
  static Result<Event> create(std::string_view whose);

  // Readable since set(), until clear().
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Any thread, any number of times.
  void set() const;
  void clear() const;

 private:
  explicit Event(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

} // namespace vmm
