// SPDX-License-Identifier: MIT
// A pipe within the guest. Pure.
#pragma once

#include <cstdint>

#include "guest/linux/files/file.hpp"

namespace guest::linux {

struct PipeEnds {
  File* reader = nullptr;
  File* writer = nullptr;
};

// Both belong to the caller; the pipe goes with the last of them. `inode` tells pipes apart.
[[nodiscard]] PipeEnds make_pipe(std::uint64_t inode);

} // namespace guest::linux
