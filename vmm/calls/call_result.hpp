// SPDX-License-Identifier: MIT
// What the guest is answered where a call of the host's has just failed.
#pragma once

#include <cerrno>

#include "shared/call_mailbox.hpp"

namespace vmm {

// The negative of errno.
[[nodiscard]] inline abi::CallResult failed() {
  return -abi::CallResult{errno};
}

} // namespace vmm
