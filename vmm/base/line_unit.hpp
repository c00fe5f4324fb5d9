// SPDX-License-Identifier: MIT
// One unit of DWARF's table of lines (DWARF 5, 6.2; versions 2 to 5), which anybody may have made:
// nothing is read beyond its bytes, and what it costs grows with them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "vmm/base/dwarf_bytes.hpp"

namespace vmm {

// Code from `address` on, up to that of the next row, is of this line.
struct LineRow {
  std::uint64_t address = 0;
  std::uint32_t file = 0; // LineUnit::file_name() has it
  std::uint32_t line = 0; // 0: none
};

class LineUnit {
 public:
  // The one that begins at `offset` of .debug_line; .debug_line_str holds names. Empty where there
  // is none that could be read.
  [[nodiscard]] static std::optional<LineUnit>
  at(std::span<const std::byte> lines, std::span<const std::byte> line_strings, std::size_t offset);
  // Where in .debug_line the next one begins.
  [[nodiscard]] std::size_t end() const { return end_; }

  // A run of rows with rising addresses, `end` behind the last of them; `program` is where it
  // begins, for rows().
  struct Sequence {
    std::uint64_t start = 0, end = 0;
    std::size_t program = 0;
  };
  void sequences(const std::function<void(const Sequence&)>& sink) const;
  // Those of the sequence that begins there, in their order.
  void rows(std::size_t program, const std::function<void(const LineRow&)>& sink) const;

  // As it was compiled, without the directory of the compilation: "guest/mm/buddy.cpp"; empty when
  // it is not told.
  [[nodiscard]] std::string file_name(std::uint32_t file) const;

 private:
  LineUnit() = default;

  struct Entry {
    std::string name;
    std::uint64_t directory = 0;
  };
  // Runs one sequence; false when there is no whole one.
  bool run(DwarfBytes& program, const std::function<void(const LineRow&)>& sink,
           std::uint64_t& end) const;
  // Entry `index` of a table that begins there; leaves the place at the table's end when there is
  // none. Version 5, and those before it.
  std::optional<Entry> entry(DwarfBytes& tables, std::uint64_t index) const;
  std::optional<std::string> old_directory(DwarfBytes& tables, std::uint64_t index) const;
  std::optional<Entry> old_file(DwarfBytes& tables, std::uint64_t index) const;
  // A value of an entry, of this form; false when the form is none that a table has.
  bool value(DwarfBytes& from, std::uint64_t form, std::string& text, std::uint64_t& number) const;

  std::span<const std::byte> lines_, line_strings_;
  std::size_t tables_ = 0;  // of directories and files
  std::size_t program_ = 0; // what makes rows
  std::size_t end_ = 0;
  unsigned version_ = 0;
  unsigned offset_bytes_ = 4; // 8 in 64-bit DWARF
  std::uint8_t least_instruction_ = 1;
  std::int8_t line_base_ = 0;
  std::uint8_t line_range_ = 1;
  std::uint8_t opcode_base_ = 1;
  std::span<const std::byte> opcode_lengths_;
};

} // namespace vmm
