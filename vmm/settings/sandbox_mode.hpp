// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace vmm {

enum class SandboxMode : std::uint8_t {
  off,  // gives up nothing
  on,   // a forbidden system call ends the process by SIGSYS
  trap, // the same, with a line that names the call
};

} // namespace vmm
