// SPDX-License-Identifier: MIT
#include "guest/linux/signals/hidden_fault.hpp"

#include <array>
#include <cstddef>

namespace guest::linux {

namespace {

// Of opcodes (SDM vol. 2, A.2.1).
enum class Map : std::uint8_t { one_byte, two_bytes, with_38, with_3a, other };
// How an instruction is written.
enum class Form : std::uint8_t { legacy, vex, evex };

// Reads an instruction from its beginning on; behind its end there are zeros, and `is_cut` is set.
class Code {
 public:
  explicit Code(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::uint8_t peek() const { return at_ < bytes_.size() ? bytes_[at_] : 0; }
  std::uint8_t take() {
    is_cut_ = is_cut_ || at_ >= bytes_.size();
    const std::uint8_t byte = peek();
    ++at_;
    return byte;
  }
  // A displacement of 1 or 4 bytes, with its sign.
  std::uint64_t take_signed(unsigned bytes) {
    std::uint32_t value = 0;
    for (unsigned index = 0; index < bytes; ++index) {
      value |= std::uint32_t{take()} << (8 * index);
    }
    return bytes == 1 ? static_cast<std::uint64_t>(std::int64_t{static_cast<std::int8_t>(value)})
                      : static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(value)});
  }
  [[nodiscard]] std::size_t taken() const { return at_; }
  [[nodiscard]] bool is_cut() const { return is_cut_; }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  bool is_cut_ = false;
};

struct Instruction {
  Form form = Form::legacy;
  Map map = Map::one_byte;
  std::uint8_t opcode = 0;
  std::uint8_t prefix = 0; // 0x66, 0xf3 or 0xf2, as it selects one of several instructions
  bool wide = false;       // 64-bit operands (REX.W and the like)
  bool index_high = false; // REX.X, REX.B: the upper eight registers
  bool base_high = false;
  bool is_elsewhere = false;      // at an address by FS or GS
  bool has_short_address = false; // of 32 bits
  unsigned vector_bytes = 16;
};

Map map_of(unsigned number) {
  return number == 1   ? Map::two_bytes
         : number == 2 ? Map::with_38
         : number == 3 ? Map::with_3a
                       : Map::other;
}

std::uint8_t prefix_of(unsigned number) {
  constexpr std::array<std::uint8_t, 4> prefixes{0, 0x66, 0xf3, 0xf2};
  return prefixes[number & 3U];
}

// C5, C4 or 62 and what follows (SDM vol. 2, 2.3.5 and 2.7.1). All are prefixes in 64-bit code.
void take_vector_prefix(Code& code, Instruction& instruction) {
  const std::uint8_t first = code.take();
  if (first == 0xc5) {
    const std::uint8_t byte = code.take();
    instruction.form = Form::vex;
    instruction.map = Map::two_bytes;
    instruction.prefix = prefix_of(byte);
    instruction.vector_bytes = (byte & 4U) != 0 ? 32 : 16;
    return;
  }
  const std::uint8_t registers = code.take();
  const std::uint8_t kind = code.take();
  instruction.index_high = (registers & 0x40U) == 0;
  instruction.base_high = (registers & 0x20U) == 0;
  instruction.wide = (kind & 0x80U) != 0;
  instruction.prefix = prefix_of(kind);
  if (first == 0xc4) {
    instruction.form = Form::vex;
    instruction.map = map_of(registers & 0x1fU);
    instruction.vector_bytes = (kind & 4U) != 0 ? 32 : 16;
  } else {
    instruction.form = Form::evex;
    instruction.map = map_of(registers & 7U);
    instruction.vector_bytes = 16U << ((code.take() >> 5) & 3U);
  }
}

// All in front of the ModRM byte.
Instruction take_opcode(Code& code) {
  Instruction instruction;
  for (bool more = true; more && code.taken() < longest_instruction;) {
    switch (code.peek()) {
    case 0xf2:
    case 0xf3:
      instruction.prefix = code.take();
      break;
    case 0x66:
      code.take();
      instruction.prefix = instruction.prefix == 0 ? 0x66 : instruction.prefix;
      break;
    case 0x64:
    case 0x65:
      code.take();
      instruction.is_elsewhere = true;
      break;
    case 0x67:
      code.take();
      instruction.has_short_address = true;
      break;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
      code.take(); // segments that begin at 0
      break;
    default:
      more = false;
    }
  }
  if (code.peek() == 0xc4 || code.peek() == 0xc5 || code.peek() == 0x62) {
    take_vector_prefix(code, instruction);
    instruction.opcode = code.take();
    return instruction;
  }
  if ((code.peek() & 0xf0U) == 0x40) { // REX
    const std::uint8_t byte = code.take();
    instruction.wide = (byte & 8U) != 0;
    instruction.index_high = (byte & 2U) != 0;
    instruction.base_high = (byte & 1U) != 0;
  }
  instruction.opcode = code.take();
  if (instruction.opcode == 0x0f) {
    instruction.map = Map::two_bytes;
    instruction.opcode = code.take();
    if (instruction.opcode == 0x38 || instruction.opcode == 0x3a) {
      instruction.map = instruction.opcode == 0x38 ? Map::with_38 : Map::with_3a;
      instruction.opcode = code.take();
    }
  }
  return instruction;
}

// By its number in ModRM and SIB bytes.
std::uint64_t general_register(const Registers& registers, unsigned number) {
  const std::array<std::uint64_t, 16> values{
      registers.rax, registers.rcx, registers.rdx, registers.rbx, registers.rsp, registers.rbp,
      registers.rsi, registers.rdi, registers.r8,  registers.r9,  registers.r10, registers.r11,
      registers.r12, registers.r13, registers.r14, registers.r15};
  return values[number & 15U];
}

struct Operand {
  std::uint64_t address = 0;
  bool is_on_stack = false; // by the stack segment, as RSP and RBP are
  unsigned extension = 0;   // of the opcode
};

// An operand in memory; empty when it is a register, or relative to the instruction's end.
std::optional<Operand> take_operand(Code& code, const Instruction& instruction,
                                    const Registers& registers) {
  constexpr unsigned rsp = 4;
  constexpr unsigned rbp = 5;
  const std::uint8_t mod_rm = code.take();
  const unsigned mod = mod_rm >> 6;
  unsigned base = mod_rm & 7U;
  Operand operand{.extension = (mod_rm >> 3) & 7U};
  if (mod == 3 || (mod == 0 && base == rbp)) {
    return std::nullopt;
  }
  if (base == rsp) { // SIB
    const std::uint8_t sib = code.take();
    base = sib & 7U;
    const unsigned index = ((sib >> 3) & 7U) + (instruction.index_high ? 8 : 0);
    operand.address += index == rsp ? 0 : general_register(registers, index) << (sib >> 6);
  }
  const bool is_absolute = mod == 0 && base == rbp;
  if (!is_absolute) {
    operand.address += general_register(registers, base + (instruction.base_high ? 8 : 0));
    operand.is_on_stack = !instruction.base_high && (base == rsp || base == rbp);
  }
  if (mod == 1) { // of EVEX in vectors, when the operand is one (SDM vol. 2, 2.7.5)
    operand.address +=
        code.take_signed(1) * (instruction.form == Form::evex ? instruction.vector_bytes : 1);
  } else if (mod == 2 || is_absolute) {
    operand.address += code.take_signed(4);
  }
  if (instruction.has_short_address) {
    operand.address &= 0xffffffff;
  }
  return operand;
}

// Whether there is an operand that KVM's emulator may be at a loss about: all of vectors, x87, and
// what has come to x86 with 64 bits and since.
bool has_operand(const Instruction& instruction) {
  const std::uint8_t opcode = instruction.opcode;
  const bool is_gather = instruction.map == Map::with_38 && instruction.form != Form::legacy &&
                         ((opcode >= 0x90 && opcode <= 0x93) ||
                          (opcode >= 0xa0 && opcode <= 0xa3) || opcode == 0xc6 || opcode == 0xc7);
  if (instruction.map == Map::other || is_gather) {
    return false;
  }
  if (instruction.map == Map::one_byte) {
    return opcode >= 0xd8 && opcode <= 0xdf;
  }
  if (instruction.map != Map::two_bytes) {
    return true;
  }
  const unsigned row = opcode >> 4;
  return row == 1 || row == 2 || (row >= 4 && row <= 7 && opcode != 0x77) || row == 9 ||
         (row == 0xa && opcode >= 0xa3 && opcode != 0xa8 && opcode != 0xa9 && opcode != 0xaa) ||
         (row == 0xb && opcode != 0xb9) || (row == 0xc && opcode < 0xc8) ||
         (row >= 0xd && opcode != 0xff);
}

// Whether the operand has to lie at a multiple of its size. Of instructions of the older form it is
// told of many more: those that need not are not at a loss for that.
bool wants_alignment(const Instruction& instruction) {
  const std::uint8_t opcode = instruction.opcode;
  if (instruction.form == Form::legacy) {
    const unsigned row = opcode >> 4;
    return instruction.map == Map::with_38 || instruction.map == Map::with_3a ||
           (instruction.map == Map::two_bytes && (row == 1 || row == 2 || (row >= 5 && row <= 7) ||
                                                  row >= 0xd || opcode == 0xc2 || opcode == 0xc6));
  }
  if (instruction.map == Map::two_bytes) {
    const bool is_integer = instruction.prefix == 0x66;
    return instruction.prefix != 0xf2 && instruction.prefix != 0xf3 &&
           (opcode == 0x28 || opcode == 0x29 || opcode == 0x2b ||
            (is_integer && (opcode == 0x6f || opcode == 0x7f || opcode == 0xe7)));
  }
  return instruction.map == Map::with_38 && instruction.prefix == 0x66 && opcode == 0x2a;
}

bool is_canonical(std::uint64_t address) {
  constexpr unsigned address_bits = 48;
  const auto signs = static_cast<std::int64_t>(address) >> (address_bits - 1);
  return signs == 0 || signs == -1;
}

} // namespace

std::optional<HiddenFault> hidden_fault(const Registers& registers,
                                        std::span<const std::uint8_t> bytes) {
  Code code(bytes.first(bytes.size() < longest_instruction ? bytes.size() : longest_instruction));
  const Instruction instruction = take_opcode(code);
  if (instruction.map == Map::one_byte && instruction.opcode == 0xcd) { // INT n: its gate is closed
    constexpr std::uint64_t in_idt = 2;
    const std::uint64_t vector = code.take();
    if (code.is_cut()) {
      return std::nullopt;
    }
    return HiddenFault{.error_code = vector * 8 + in_idt};
  }
  if (!has_operand(instruction) || instruction.is_elsewhere) {
    return std::nullopt;
  }
  const auto operand = take_operand(code, instruction, registers);
  if (!operand || code.is_cut()) {
    return std::nullopt;
  }
  if (!is_canonical(operand->address)) {
    return HiddenFault{.vector =
                           operand->is_on_stack ? stack_fault_vector : protection_fault_vector};
  }
  const unsigned aligned_to = instruction.form == Form::legacy ? 16 : instruction.vector_bytes;
  if (wants_alignment(instruction) && operand->address % aligned_to != 0) {
    return HiddenFault{};
  }
  // FXRSTOR, LDMXCSR and XRSTOR of what no register can hold.
  const bool restores =
      instruction.map == Map::two_bytes && instruction.opcode == 0xae &&
      (operand->extension == 1 || operand->extension == 2 || operand->extension == 5);
  return restores ? std::optional(HiddenFault{}) : std::nullopt;
}

} // namespace guest::linux
