// SPDX-License-Identifier: MIT
#include "guest/linux/signals/hidden_fault.hpp"

#include <initializer_list>
#include <optional>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

constexpr std::uint64_t high = 0x1000200000003000; // no processor has it
constexpr std::uint64_t aligned = 0x7f0000001000;

// With RBX aligned to 64, RDX and RBP high, RSI 8, R9 to `aligned` and R13 high.
std::optional<HiddenFault> fault_of(std::initializer_list<std::uint8_t> code) {
  Registers registers;
  registers.rbx = aligned;
  registers.rdx = high;
  registers.rbp = high;
  registers.rsp = aligned;
  registers.rsi = 8;
  registers.r9 = aligned;
  registers.r13 = high;
  return hidden_fault(registers, std::vector(code));
}

bool protection_fault(std::initializer_list<std::uint8_t> code) {
  const auto fault = fault_of(code);
  return fault && fault->vector == protection_fault_vector && fault->error_code == 0;
}

bool stack_fault(std::initializer_list<std::uint8_t> code) {
  const auto fault = fault_of(code);
  return fault && fault->vector == stack_fault_vector && fault->error_code == 0;
}

bool nothing(std::initializer_list<std::uint8_t> code) {
  return !fault_of(code).has_value();
}

} // namespace

TEST_CASE("a software interrupt is a protection fault at its gate") {
  const auto plain = fault_of({0xcd, 0x42});
  REQUIRE(plain);
  CHECK(plain->vector == protection_fault_vector);
  CHECK(plain->error_code == 0x212);
  const auto prefixed = fault_of({0x66, 0x2e, 0xf3, 0x48, 0xcd, 0xff});
  REQUIRE(prefixed);
  CHECK(prefixed->error_code == 0x7fa);
  CHECK(nothing({0xcd}));
  CHECK(nothing({}));
  CHECK(nothing({0x66, 0x66}));
}

TEST_CASE("what is no instruction, or has no operand, stays invalid") {
  CHECK(nothing({0x0f, 0x0b}));                         // ud2
  CHECK(nothing({0x0f, 0xb9, 0x02}));                   // ud1 of a high address
  CHECK(nothing({0x0f, 0xff, 0x02}));                   // ud0
  CHECK(nothing({0x06}));                               // push es
  CHECK(nothing({0xce}));                               // into
  CHECK(nothing({0xf0, 0x90}));                         // lock nop
  CHECK(nothing({0x0f, 0x58, 0xc1}));                   // addps of registers
  CHECK(nothing({0x0f, 0x05}));                         // syscall
  CHECK(nothing({0xc5, 0xfc, 0x28, 0xc1}));             // vmovaps of registers
  CHECK(nothing({0x8b, 0x02}));                         // mov: the emulator knows it
  CHECK(nothing({0x0f, 0x58, 0x05, 0x01, 0, 0, 0}));    // relative to RIP: not looked at
  for (unsigned opcode = 0; opcode < 0x100; ++opcode) { // nor does anything fault that is cut off
    CHECK(nothing({0x0f, static_cast<std::uint8_t>(opcode)}));
    CHECK(nothing({0xc5, 0xfc, static_cast<std::uint8_t>(opcode)}));
  }
}

TEST_CASE("vectors that have to be aligned, and are not") {
  CHECK(protection_fault({0x0f, 0x58, 0x43, 0x04}));             // addps xmm0, [rbx + 4]
  CHECK(nothing({0x0f, 0x58, 0x43, 0x10}));                      // + 16
  CHECK(protection_fault({0x66, 0x0f, 0xef, 0x43, 0x08}));       // pxor
  CHECK(protection_fault({0x66, 0x0f, 0x38, 0x00, 0x43, 0x08})); // pshufb
  CHECK(protection_fault({0x66, 0x41, 0x0f, 0xef, 0x41, 0x08})); // pxor by R9
  CHECK(protection_fault({0xc5, 0xfc, 0x28, 0x43, 0x10}));       // vmovaps ymm0, [rbx + 16]
  CHECK(nothing({0xc5, 0xfc, 0x28, 0x43, 0x20}));                // + 32
  CHECK(nothing({0xc5, 0xf8, 0x28, 0x43, 0x10}));                // xmm0
  CHECK(protection_fault({0xc5, 0xf8, 0x28, 0x43, 0x08}));
  CHECK(protection_fault({0xc4, 0xe1, 0x7d, 0x6f, 0x04, 0x33})); // vmovdqa ymm0, [rbx + rsi]
  CHECK(nothing({0xc5, 0xfe, 0x6f, 0x43, 0x08}));                // vmovdqu
  CHECK(nothing({0xc5, 0xfc, 0x10, 0x43, 0x08}));                // vmovups
  CHECK(nothing({0xc5, 0xfc, 0x58, 0x43, 0x08}));                // vaddps
  CHECK(protection_fault({0xc4, 0xe2, 0x7d, 0x2a, 0x43, 0x10})); // vmovntdqa
  CHECK(protection_fault({0xc4, 0xc1, 0x7c, 0x28, 0x41, 0x10})); // vmovaps by R9
  // vmovaps zmm0, [rbx + 64], [rbx + 4], [rbx + 68 rsi]
  CHECK(nothing({0x62, 0xf1, 0x7c, 0x48, 0x28, 0x43, 0x01}));
  CHECK(protection_fault({0x62, 0xf1, 0x7c, 0x48, 0x28, 0x83, 4, 0, 0, 0}));
  CHECK(protection_fault({0x62, 0xf1, 0x7c, 0x48, 0x28, 0x44, 0x73, 0x01}));
}

TEST_CASE("operands at addresses that no processor has") {
  CHECK(protection_fault({0x0f, 0x58, 0x02}));                   // addps xmm0, [rdx]
  CHECK(protection_fault({0xf3, 0x0f, 0xb8, 0x02}));             // popcnt
  CHECK(protection_fault({0xd9, 0x02}));                         // fld
  CHECK(protection_fault({0xc5, 0xfc, 0x10, 0x02}));             // vmovups
  CHECK(protection_fault({0xc5, 0xfc, 0x10, 0x04, 0x53}));       // by [rbx + 2 rdx]
  CHECK(protection_fault({0x62, 0xf1, 0x7c, 0x48, 0x10, 0x02})); // of AVX-512
  CHECK(stack_fault({0xc5, 0xfc, 0x10, 0x45, 0x00}));            // by RBP
  CHECK(protection_fault({0xc4, 0xc1, 0x7c, 0x10, 0x45, 0x00})); // by R13, which is no such
  CHECK(stack_fault({0x0f, 0x58, 0x04, 0x14}));                  // by [rsp + rdx]
  CHECK(nothing({0x64, 0x0f, 0x58, 0x02}));                      // by FS: not looked at
  CHECK(nothing({0x67, 0x0f, 0x58, 0x02}));                      // cut to 32 bits
  CHECK(nothing({0x0f, 0x58, 0x04, 0x25, 0, 0x10, 0, 0}));       // absolute
  CHECK(nothing({0xc4, 0xe2, 0x7d, 0x92, 0x04, 0x12}));          // a gather
}

TEST_CASE("states that no register can hold") {
  CHECK(protection_fault({0x0f, 0xae, 0x13})); // ldmxcsr [rbx]
  CHECK(protection_fault({0x0f, 0xae, 0x0b})); // fxrstor
  CHECK(protection_fault({0x0f, 0xae, 0x2b})); // xrstor
  CHECK(nothing({0x0f, 0xae, 0x1b}));          // stmxcsr
  CHECK(nothing({0x0f, 0xae, 0xe8}));          // lfence
}
