// SPDX-License-Identifier: MIT
#include "guest/linux/sites/movable_code.hpp"

#include <algorithm>
#include <array>

namespace guest::linux {

namespace {

using Kind = MovableInstruction::Kind;

constexpr std::uint8_t operand_size = 0x66; // prefix
constexpr std::uint8_t rex_w = 0x48;        // prefixes from here on have 64-bit operands

// Opcodes with a ModRM byte and no immediate: ADD, OR, AND, SUB, XOR, CMP, MOV in both directions,
// TEST, MOVSXD.
constexpr auto with_operand =
    std::to_array<std::uint8_t>({0x01, 0x03, 0x09, 0x0b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x39,
                                 0x3b, 0x63, 0x85, 0x89, 0x8b});

struct ModRm {
  std::uint8_t bytes; // with SIB and displacement
  std::uint8_t extension;
};

// Empty when cut off or relative to the instruction's address.
std::optional<ModRm> mod_rm(std::span<const std::uint8_t> code) {
  if (code.empty()) {
    return std::nullopt;
  }
  const unsigned mod = code[0] >> 6;
  const unsigned rm = code[0] & 7U;
  std::size_t bytes = 1;
  if (mod != 3) {
    if (rm == 4) { // SIB
      if (code.size() < 2) {
        return std::nullopt;
      }
      ++bytes;
      bytes += mod == 0 && (code[1] & 7U) == 5 ? 4 : 0;
    } else if (mod == 0 && rm == 5) {
      return std::nullopt; // relative to RIP
    }
    bytes += mod == 1 ? 1 : mod == 2 ? 4 : 0;
  }
  if (bytes > code.size()) {
    return std::nullopt;
  }
  return ModRm{static_cast<std::uint8_t>(bytes), static_cast<std::uint8_t>((code[0] >> 3) & 7U)};
}

// NOP of one and of several bytes; other prefixes than these are in no manual.
std::optional<MovableInstruction> no_operation(std::span<const std::uint8_t> code) {
  std::size_t at = 0;
  while (at < code.size() && code[at] == operand_size) {
    ++at;
  }
  if (at < code.size() && code[at] == 0x2e) { // CS, as assemblers pad
    ++at;
  }
  if (at < code.size() && code[at] == 0x90) {
    return MovableInstruction{static_cast<std::uint8_t>(at + 1), Kind::nothing};
  }
  if (code.size() < at + 2 || code[at] != 0x0f || code[at + 1] != 0x1f) {
    return std::nullopt;
  }
  const auto operand = mod_rm(code.subspan(at + 2));
  if (!operand) {
    return std::nullopt;
  }
  return MovableInstruction{static_cast<std::uint8_t>(at + 2 + operand->bytes), Kind::nothing};
}

std::optional<MovableInstruction> plain(std::size_t bytes, std::size_t available) {
  if (bytes > available) {
    return std::nullopt;
  }
  return MovableInstruction{static_cast<std::uint8_t>(bytes), Kind::plain};
}

} // namespace

std::optional<MovableInstruction> movable_instruction(std::span<const std::uint8_t> code) {
  constexpr std::size_t longest = 15; // SDM vol. 2, 2.3.11
  code = code.first(std::min(code.size(), longest));
  if (const auto nop = no_operation(code)) {
    return nop;
  }
  if (!code.empty() && code[0] == 0xc3) {
    return MovableInstruction{1, Kind::ret};
  }
  const bool rex = !code.empty() && (code[0] & 0xf0U) == 0x40;
  const bool wide = rex && code[0] >= rex_w;
  const std::size_t at = rex ? 1 : 0; // the opcode
  if (code.size() <= at) {
    return std::nullopt;
  }
  const std::uint8_t opcode = code[at];
  const std::size_t behind = at + 1;
  switch (opcode) {
  case 0x3d: // CMP EAX, imm32
  case 0xa9: // TEST EAX, imm32
    return plain(behind + 4, code.size());
  case 0x98: // CWDE, CDQE
    return plain(behind, code.size());
  default:
    break;
  }
  if (opcode >= 0x50 && opcode <= 0x5f) { // PUSH, POP
    return plain(behind, code.size());
  }
  if (opcode >= 0xb8 && opcode <= 0xbf) { // MOV r, imm32 or imm64
    return plain(behind + (wide ? 8 : 4), code.size());
  }
  const auto operand = mod_rm(code.subspan(behind));
  if (!operand) {
    return std::nullopt;
  }
  const std::size_t end = behind + operand->bytes;
  if (std::ranges::find(with_operand, opcode) != with_operand.end()) {
    return plain(end, code.size());
  }
  switch (opcode) {
  case 0x80: // arithmetic with imm8, of bytes and of others
  case 0x83:
    return plain(end + 1, code.size());
  case 0x81: // with imm32
    return plain(end + 4, code.size());
  case 0x8d: // LEA, of memory
    return code[behind] < 0xc0 ? plain(end, code.size()) : std::nullopt;
  case 0xc6: // MOV, imm8
    return operand->extension == 0 ? plain(end + 1, code.size()) : std::nullopt;
  case 0xc7: // MOV, imm32; other extensions are other instructions
    return operand->extension == 0 ? plain(end + 4, code.size()) : std::nullopt;
  case 0xf7: // NOT, NEG
    return operand->extension == 2 || operand->extension == 3 ? plain(end, code.size())
                                                              : std::nullopt;
  default:
    return std::nullopt;
  }
}

} // namespace guest::linux
