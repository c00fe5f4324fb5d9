// SPDX-License-Identifier: MIT
// A system call of Linux, as a program makes it: for the vdso, which runs as a part of one.
#pragma once

#include <cstdint>

namespace guest::arch {

// The answer, or a negative error number.
inline std::int64_t linux_call(std::int64_t number, std::uint64_t first, std::uint64_t second) {
  std::int64_t answer = number;
  asm volatile("syscall" : "+a"(answer) : "D"(first), "S"(second) : "rcx", "r11", "memory", "cc");
  return answer;
}

} // namespace guest::arch
