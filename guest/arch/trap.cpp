// SPDX-License-Identifier: MIT
#include "guest/arch/trap.hpp"

#include <array>

namespace guest::arch {

const char* vector_name(std::uint64_t vector) {
  static constexpr std::array names = {
      "divide error",
      "debug exception",
      "NMI",
      "breakpoint",
      "overflow",
      "bound range exceeded",
      "invalid opcode",
      "no math device",
      "double fault",
      "coprocessor overrun",
      "invalid TSS",
      "segment not present",
      "stack fault",
      "general protection fault",
      "page fault",
      "reserved trap",
      "x87 error",
      "alignment check",
      "machine check",
      "SIMD error",
  };
  return vector < names.size() ? names[vector] : "unexpected interrupt";
}

} // namespace guest::arch
