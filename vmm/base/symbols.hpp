// SPDX-License-Identifier: MIT
// Code addresses to function names, from the symbol table of guest.elf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vmm {

class Symbols {
 public:
  // An empty table: every address prints as a number.
  Symbols() = default;

  // The table of an ELF file's bytes; empty when it has none or is damaged.
  [[nodiscard]] static Symbols parse(std::span<const std::byte> elf);
  [[nodiscard]] bool empty() const { return functions_.empty(); }

  // "0x4012ab mm::Buddy::allocate(Order)+0x1b", or the address alone when it lies in no function.
  [[nodiscard]] std::string describe(std::uint64_t address) const;

 private:
  struct Function {
    std::uint64_t start, bytes;
    std::size_t name; // where it begins in names_
  };
  std::vector<Function> functions_; // sorted by start
  // As the linker knows them, each ended by NUL: demangling all takes time and a deep stack.
  std::vector<char> names_;
};

} // namespace vmm
