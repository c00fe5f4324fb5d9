// SPDX-License-Identifier: MIT
// Page faults: what was tried, and what came of it.
#pragma once

#include <cstdint>

namespace guest::linux {

// What an instruction did that faulted.
enum class Access : std::uint8_t { read, write, execute };

enum class Resolution : std::uint8_t {
  resolved,  // the instruction may be tried again
  unmapped,  // the program has nothing there
  forbidden, // it has, but may not do that
  out_of_memory,
  nothing_to_show, // it has, but the file does not reach there
};

} // namespace guest::linux
