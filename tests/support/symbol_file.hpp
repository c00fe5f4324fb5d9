// SPDX-License-Identifier: MIT
// An ELF file with one segment and one table of two functions, mm::Buddy::Buddy() and plain.
#pragma once

#include <elf.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

namespace test_support {

struct SymbolFile {
  static constexpr std::size_t segment_at = 0x80, sections_at = 0x100, symbols_at = 0x200,
                               strings_at = 0x300;
  static constexpr std::string_view strings{"\0_ZN2mm5BuddyC1Ev\0plain", 24};

  SymbolFile() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_phoff = segment_at;
    header.e_phnum = 1;
    header.e_shoff = sections_at;
    header.e_shnum = 2;
    segment.p_type = PT_LOAD;
    segment.p_vaddr = 0x4000;
    segment.p_filesz = 0x400;
    sections[0].sh_type = SHT_SYMTAB;
    sections[0].sh_link = 1;
    sections[0].sh_offset = symbols_at;
    sections[0].sh_size = sizeof symbols;
    sections[1].sh_type = SHT_STRTAB;
    sections[1].sh_offset = strings_at;
    sections[1].sh_size = strings.size();
  }

  // With all parts in their places, as long as asked for.
  [[nodiscard]] std::vector<std::byte> bytes(std::size_t length) const {
    std::vector<std::byte> file(length);
    const auto put = [&file](std::size_t at, const void* from, std::size_t size) {
      std::memcpy(file.data() + at, from, size);
    };
    put(0, &header, sizeof header);
    put(segment_at, &segment, sizeof segment);
    put(sections_at, &sections, sizeof sections);
    put(symbols_at, &symbols, sizeof symbols);
    put(strings_at, strings.data(), strings.size());
    return file;
  }

  Elf64_Ehdr header{};
  Elf64_Phdr segment{};
  std::array<Elf64_Shdr, 2> sections{};
  std::array<Elf64_Sym, 2> symbols{
      Elf64_Sym{18, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x5000, 0x10},
      Elf64_Sym{1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x4000, 0x20}};
};

} // namespace test_support
