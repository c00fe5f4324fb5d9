// SPDX-License-Identifier: MIT
// What the trap stubs hand over.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest::arch {

// Register state at a trap, as guest/arch/trap_stubs.S pushes it (lowest address first).
struct TrapFrame {
  std::uint64_t cr2;
  std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
  std::uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
  std::uint64_t vector, error_code;
  std::uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(offsetof(TrapFrame, vector) == 128);
static_assert(offsetof(TrapFrame, rip) == 144);
static_assert(offsetof(TrapFrame, rflags) == 160);
static_assert(sizeof(TrapFrame) == 184);

// Name of an exception vector, such as "page fault".
[[nodiscard]] const char* vector_name(std::uint64_t vector);

} // namespace guest::arch
