// SPDX-License-Identifier: MIT
#include "guest/linux/sites/movable_code.hpp"

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::movable_instruction;
using Kind = guest::linux::MovableInstruction::Kind;

// What a decoder of the whole architecture says.
struct Decoded {
  bool valid = false;
  std::uint8_t bytes = 0;
  bool depends_on_place = false;
  ZydisMnemonic mnemonic{};
};

Decoded decode(std::span<const std::uint8_t> code) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &instruction,
                                           operands.data()))) {
    return {};
  }
  return {.valid = true,
          .bytes = instruction.length,
          .depends_on_place = (instruction.attributes & ZYDIS_ATTRIB_IS_RELATIVE) != 0,
          .mnemonic = instruction.mnemonic};
}

void check_against_decoder(std::span<const std::uint8_t> code) {
  const auto found = movable_instruction(code);
  if (!found) {
    return;
  }
  const Decoded decoded = decode(code);
  CAPTURE(std::vector<unsigned>(code.begin(), code.end()));
  REQUIRE(decoded.valid);
  REQUIRE(found->bytes == decoded.bytes);
  REQUIRE((found->kind == Kind::ret) == (decoded.mnemonic == ZYDIS_MNEMONIC_RET));
  REQUIRE((found->kind == Kind::nothing) == (decoded.mnemonic == ZYDIS_MNEMONIC_NOP));
  if (found->kind != Kind::nothing) {
    REQUIRE_FALSE(decoded.depends_on_place);
  }
}

TEST_CASE("an instruction that is said to be movable has that length and is relative to nothing") {
  std::mt19937_64 random(1); // NOLINT
  // All first two bytes, and all third ones behind a REX prefix, with anything behind them.
  for (unsigned first = 0; first < 0x10000; ++first) {
    for (unsigned round = 0; round < 8; ++round) {
      std::array<std::uint8_t, 20> code{};
      for (std::uint8_t& byte : code) {
        byte = static_cast<std::uint8_t>(random());
      }
      code[0] = static_cast<std::uint8_t>(first >> 8);
      code[1] = static_cast<std::uint8_t>(first);
      check_against_decoder(code);
      check_against_decoder(std::span(code).first(random() % code.size()));
      code[0] = static_cast<std::uint8_t>(0x40 | (random() & 0xf));
      code[1] = static_cast<std::uint8_t>(first >> 8);
      code[2] = static_cast<std::uint8_t>(first);
      check_against_decoder(code);
    }
  }
}

TEST_CASE("what compilers put behind a system call is movable") {
  const auto bytes_of = [](std::initializer_list<std::uint8_t> code) {
    const auto found = movable_instruction({code.begin(), code.size()});
    return found ? unsigned{found->bytes} : 0U;
  };
  CHECK(bytes_of({0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77}) == 6);           // cmp $-4096, %rax
  CHECK(bytes_of({0x48, 0x81, 0xf8, 0x01, 0xf0, 0xff, 0xff}) == 7);           // the long form
  CHECK(bytes_of({0x3d, 0x00, 0xf0, 0xff, 0xff}) == 5);                       // cmp $-4096, %eax
  CHECK(bytes_of({0x83, 0xf8, 0xda}) == 3);                                   // cmp $-38, %eax
  CHECK(bytes_of({0x48, 0x85, 0xc0, 0x75}) == 3);                             // test %rax, %rax
  CHECK(bytes_of({0x89, 0xc2}) == 2);                                         // mov %eax, %edx
  CHECK(bytes_of({0xf7, 0xd8}) == 2);                                         // neg %eax
  CHECK(bytes_of({0xc3}) == 1);                                               // ret
  CHECK(bytes_of({0x48, 0x8b, 0x44, 0x24, 0x08}) == 5);                       // mov 8(%rsp), %rax
  CHECK(bytes_of({0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}) == 11); // padding
  CHECK(bytes_of({0x80, 0xbb, 0xf8, 0x08, 0x00, 0x00, 0x00}) == 7);           // cmpb $0, 2296(%rbx)
  CHECK(bytes_of({0xc6, 0x43, 0x10, 0x01}) == 4);                             // movb $1, 16(%rbx)
  CHECK(bytes_of({0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00}) == 7);           // mov $15, %rax
  CHECK(bytes_of({0x48, 0x8d, 0x65, 0xd8}) == 4);                             // lea -40(%rbp), %rsp
  CHECK(bytes_of({0x41, 0x5c}) == 2);                                         // pop %r12
}

TEST_CASE("what depends on its place, or is cut off, is not") {
  const auto is_movable = [](std::initializer_list<std::uint8_t> code) {
    return movable_instruction({code.begin(), code.size()}).has_value();
  };
  CHECK_FALSE(is_movable({}));
  CHECK_FALSE(is_movable({0x75, 0x10}));                   // jne
  CHECK_FALSE(is_movable({0xe8, 0, 0, 0, 0}));             // call
  CHECK_FALSE(is_movable({0x48, 0x8b, 0x05, 0, 0, 0, 0})); // mov 0(%rip), %rax
  CHECK_FALSE(is_movable({0x0f, 0x05}));                   // syscall
  CHECK_FALSE(is_movable({0x48, 0x3d, 0x00, 0xf0, 0xff})); // cut off
  CHECK_FALSE(is_movable({0x48}));
  CHECK_FALSE(is_movable({0x8b, 0x84}));
}

} // namespace
