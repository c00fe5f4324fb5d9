// SPDX-License-Identifier: MIT
// What a program's thread is made of while it does not run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace guest::linux {

// General registers, as a trap finds them. The order is the trap stubs'.
struct Registers {
  std::uint64_t fault_address = 0; // of a page fault
  std::uint64_t r15 = 0, r14 = 0, r13 = 0, r12 = 0, r11 = 0, r10 = 0, r9 = 0, r8 = 0;
  std::uint64_t rdi = 0, rsi = 0, rbp = 0, rbx = 0, rdx = 0, rcx = 0, rax = 0;
  std::uint64_t vector = 0, error_code = 0;
  std::uint64_t rip = 0, cs = 0, flags = 0, rsp = 0, ss = 0;
};

// x87, vector and other extended registers: the standard form of XSAVE (SDM vol. 1, 13.4).
struct ExtendedState {
  std::span<std::byte> bytes;
  std::uint64_t features = 0; // that may be in it: XCR0

  static constexpr std::size_t legacy_bytes = 512; // FXSAVE's; the header follows
  static constexpr std::size_t header_bytes = 64;
};

} // namespace guest::linux
