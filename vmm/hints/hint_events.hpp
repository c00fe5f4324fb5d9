// SPDX-License-Identifier: MIT
// What the host's side of the channels tells whoever owns it.
#pragma once

#include <functional>

#include "vmm/hints/hint_checker.hpp"

namespace vmm {

// Called from whichever thread it happens on. Each may be empty.
struct HintEvents {
  // The guest asked for an interrupt at the channel's next answer, and it is there.
  std::function<void(unsigned channel)> interrupt{};
  // The hint check's first objection on a thread that is not in HintService::serve().
  std::function<void(const HintViolation&)> violation{};
};

} // namespace vmm
