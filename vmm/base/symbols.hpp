// SPDX-License-Identifier: MIT
// Code addresses to function names, from the symbol table of an ELF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace vmm {

// A file's bytes from `offset` on; false when they are not to be had.
using ElfReader = std::function<bool(std::uint64_t offset, std::span<std::byte> to)>;

// By what a table is asked.
enum class AddressesOf : std::uint8_t {
  memory, // as its program headers place it
  file,   // offsets in the file
};

class Symbols {
 public:
  // An empty table: every address prints as a number.
  Symbols() = default;

  // The table of an ELF file's bytes; empty when it has none or is damaged.
  [[nodiscard]] static Symbols parse(std::span<const std::byte> elf);
  // The same of a file of so many bytes, of which only what is needed is read; that of its dynamic
  // symbols where it has no other. Empty as well when it would take more than most_bytes.
  static constexpr std::uint64_t most_bytes = std::uint64_t{128} << 20;
  [[nodiscard]] static Symbols read(const ElfReader& read, std::uint64_t file_bytes,
                                    AddressesOf addresses);
  // What it takes, about.
  [[nodiscard]] std::uint64_t bytes() const {
    return functions_.size() * sizeof(Function) + names_.size();
  }
  [[nodiscard]] bool empty() const { return functions_.empty(); }

  // "mm::Buddy::allocate(Order)", at most most_name_bytes of it; empty when the address lies in no
  // function.
  static constexpr std::size_t most_name_bytes = 512;
  [[nodiscard]] std::string function_at(std::uint64_t address) const;

  // "0x4012ab mm::Buddy::allocate(Order)+0x1b", or the address alone when it lies in no function.
  [[nodiscard]] std::string describe(std::uint64_t address) const;

 private:
  struct Function {
    std::uint64_t start, bytes;
    std::size_t name; // where it begins in names_
  };
  [[nodiscard]] const Function* find(std::uint64_t address) const;

  std::vector<Function> functions_; // sorted by start
  AddressesOf addresses_ = AddressesOf::memory;
  // As the linker knows them, each ended by NUL: demangling all takes time and a deep stack.
  std::vector<char> names_;
};

} // namespace vmm
