// SPDX-License-Identifier: MIT
// Code addresses to lines of source, from the table of lines that an ELF file has as a part of its
// debug information (DWARF). The file may be anybody's: what it costs is bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/elf_file.hpp"
#include "vmm/base/line_unit.hpp"

namespace vmm {

class SourceLines {
 public:
  // Nothing is known.
  SourceLines() = default;

  // Tables beyond are as good as none: Debian's largest programs have some 20 MiB.
  static constexpr std::uint64_t most_section_bytes = std::uint64_t{64} << 20;
  [[nodiscard]] static SourceLines read(const ElfFile& file);

  // "guest/mm/buddy.cpp:123", as the file was named when it was compiled, at most most_name_bytes
  // of it; empty where that is not known. `address` is as the program headers have it.
  static constexpr std::size_t most_name_bytes = 512;
  [[nodiscard]] std::string at(std::uint64_t address);

  // What it takes, about; grows as it is asked.
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  static constexpr std::size_t most_sequences = std::size_t{1} << 20;
  // Of all that was asked for.
  static constexpr std::size_t most_rows = std::size_t{4} << 20;
  static constexpr std::size_t most_names = 16'384;

  struct Sequence {
    LineUnit::Sequence where;
    std::size_t unit = 0; // where in the section
  };
  const std::vector<LineRow>& rows_of(const Sequence& sequence, const LineUnit& unit);
  std::string name_of(std::size_t unit_offset, const LineUnit& unit, std::uint32_t file);

  std::vector<std::byte> lines_, line_strings_;      // two sections
  std::vector<Sequence> sequences_;                  // by their start
  std::map<std::size_t, std::vector<LineRow>> rows_; // of sequences by their program: once each
  std::size_t row_count_ = 0;
  std::map<std::pair<std::size_t, std::uint32_t>, std::string> names_; // by unit and file
};

} // namespace vmm
