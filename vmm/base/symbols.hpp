// SPDX-License-Identifier: MIT
// Code addresses to function names, from the symbol table of an ELF file, and to lines of source
// where there is debug information.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/elf_file.hpp"

namespace vmm {

// By what a table is asked.
enum class AddressesOf : std::uint8_t {
  memory, // as its program headers place it
  file,   // offsets in the file
};

class Symbols {
 public:
  // An empty table: every address prints as a number.
  Symbols() = default;

  // The table of an ELF file, of which only what is needed is read; that of its dynamic symbols
  // where it has no other. Empty when it has none, is damaged, or would take more than
  // ElfFile::most_bytes.
  [[nodiscard]] static Symbols read(const ElfFile& file, AddressesOf addresses);
  // The same where another file's segments say what lies where: that which `file` is of.
  [[nodiscard]] static Symbols read(const ElfFile& file, AddressesOf addresses,
                                    std::span<const Elf64_Phdr> segments);
  // From now on lines are known, too, where `file` says so: the same one, or one that holds its
  // debug information. It is read when a line is asked for, and later still.
  void add_lines(ElfFile file);

  // What functions take, about; and what lines do by now.
  [[nodiscard]] std::uint64_t bytes() const {
    return functions_.size() * sizeof(Function) + names_.size();
  }
  [[nodiscard]] std::uint64_t line_bytes() const;
  [[nodiscard]] bool empty() const { return functions_.empty(); }

  // "mm::Buddy::allocate(Order)", at most most_name_bytes of it; empty when the address lies in no
  // function.
  static constexpr std::size_t most_name_bytes = 512;
  [[nodiscard]] std::string function_at(std::uint64_t address) const;

  // "guest/mm/buddy.cpp:123"; empty when that is not known. Any thread, as all of these.
  [[nodiscard]] std::string line_at(std::uint64_t address) const;

  // "mm::Buddy::allocate(Order)+0x1b"; empty when it lies in no function.
  [[nodiscard]] std::string place_at(std::uint64_t address) const;

  // All of it: "0x4012ab mm::Buddy::allocate(Order)+0x1b (guest/mm/buddy.cpp:123)", or as much as
  // is known.
  [[nodiscard]] std::string describe(std::uint64_t address) const;

 private:
  struct Lines;
  struct Function {
    std::uint64_t start, bytes;
    std::size_t name; // where it begins in names_
  };
  [[nodiscard]] const Function* find(std::uint64_t address) const;

  std::vector<Function> functions_; // sorted by start
  AddressesOf addresses_ = AddressesOf::memory;
  // As the linker knows them, each ended by NUL: demangling all takes time and a deep stack.
  std::vector<char> names_;
  std::vector<Elf64_Phdr> segments_; // for addresses in the file
  std::shared_ptr<Lines> lines_;     // null: nobody has said where they are
};

} // namespace vmm
