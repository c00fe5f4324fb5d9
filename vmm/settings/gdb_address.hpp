// SPDX-License-Identifier: MIT
// Where a debugger connects: --gdb PORT, on the loopback interface alone, or --gdb unix:PATH.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/result.hpp"

namespace vmm {

struct GdbAddress {
  std::uint16_t port = 0; // of 127.0.0.1; 0: any that is free
  std::string path;       // of a Unix socket, if not empty
};

// All errors are user errors.
[[nodiscard]] Result<GdbAddress> parse_gdb_address(std::string_view text);

} // namespace vmm
