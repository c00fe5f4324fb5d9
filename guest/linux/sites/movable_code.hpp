// SPDX-License-Identifier: MIT
// Which instructions do the same wherever they lie, and how long they are: what a site of a system
// call may have moved away from behind it (site_patcher.hpp). Pure.
//
// No decoder of all of x86: it knows the forms that compilers put behind a SYSCALL, each exactly
// (SDM vol. 2, appendix A), and knows nothing of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace guest::linux {

struct MovableInstruction {
  std::uint8_t bytes = 0;
  enum class Kind : std::uint8_t {
    plain,   // goes on behind itself
    nothing, // the same, and does nothing
    ret      // does not
  };
  Kind kind = Kind::plain;
};

// The instruction that `code` begins with. Empty: it is relative to its own address, jumps, is cut
// off, or is none of those known.
[[nodiscard]] std::optional<MovableInstruction>
movable_instruction(std::span<const std::uint8_t> code);

} // namespace guest::linux
