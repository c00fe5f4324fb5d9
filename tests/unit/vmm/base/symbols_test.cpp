// SPDX-License-Identifier: MIT
#include "vmm/base/symbols.hpp"

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/elf_builder.hpp"
#include "tests/support/symbol_file.hpp"

namespace {

using test_support::SymbolFile;
using vmm::AddressesOf;
using vmm::Symbols;

// As of a file of so many bytes.
Symbols read(const std::vector<std::byte>& file, AddressesOf by) {
  return Symbols::read(test_support::elf_file(file), by);
}

} // namespace

TEST_CASE("symbols: damaged files give an empty table") {
  CHECK(read({}, AddressesOf::memory).describe(0x1234) == "0x1234");
  SymbolFile file;
  file.header.e_shnum = 0xffff;
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{64}, ~std::uint64_t{0}}) {
    file.header.e_shoff = offset;
    CHECK(read(file.bytes(4096), AddressesOf::memory).describe(0x1234) == "0x1234");
  }
}

TEST_CASE("symbols: names by address, demangled") {
  SymbolFile file;
  const Symbols table = read(file.bytes(4096), AddressesOf::memory);
  CHECK(table.describe(0x4000) == "0x4000 mm::Buddy::Buddy()+0x0");
  CHECK(table.describe(0x401f) == "0x401f mm::Buddy::Buddy()+0x1f");
  CHECK(table.describe(0x4020) == "0x4020");
  CHECK(table.describe(0x3fff) == "0x3fff");
  CHECK(table.describe(0x500f) == "0x500f plain+0xf");
  CHECK(table.function_at(0x401f) == "mm::Buddy::Buddy()");
  CHECK(table.function_at(0x4020).empty());
  // A name outside the strings is left out, not read.
  file.symbols[0].st_name = 0x7fffffff;
  CHECK(read(file.bytes(4096), AddressesOf::memory).describe(0x500f) == "0x500f");
}

TEST_CASE(
    "symbols: by offsets in the file, where a segment has the address, of a stripped file, too") {
  SymbolFile file;
  file.segment.p_offset = 0x400;
  file.segment.p_filesz = 0x100;
  file.sections[0].sh_type = SHT_DYNSYM;
  const Symbols by_offset = read(file.bytes(4096), AddressesOf::file);
  CHECK(by_offset.function_at(0x41f) == "mm::Buddy::Buddy()");
  CHECK(by_offset.function_at(0x420).empty());
  CHECK(by_offset.function_at(0x5000).empty()); // of no segment
  const vmm::ElfFile gone([](std::uint64_t, std::span<std::byte>) { return false; }, 4096);
  CHECK(Symbols::read(gone, AddressesOf::file).empty());
}

TEST_CASE("symbols: what a name would become is bounded") {
  constexpr std::size_t strings_at = 0x1000;
  const auto named = [](const std::string& name) {
    SymbolFile file;
    file.sections[1].sh_offset = strings_at;
    file.sections[1].sh_size = 0x1f000;
    file.symbols[1].st_name = 0;
    std::vector<std::byte> bytes = file.bytes(0x20000);
    std::memcpy(bytes.data() + strings_at, name.data(), name.size());
    return read(bytes, AddressesOf::memory).function_at(0x4000);
  };
  CHECK(named("_Z3addii") == "add(int, int)");
  std::string doubling = "_Z1fI1A";
  for (int level = 0; level < 40; ++level) {
    doubling += "St4pairIS_S_E";
  }
  CHECK(named(doubling).starts_with("_Z1fI1A"));
  CHECK(named("_Z" + std::string(100'000, 'P')).size() == Symbols::most_name_bytes);
  CHECK(named(std::string(100'000, 'x')).size() == Symbols::most_name_bytes);
}

TEST_CASE("symbols: a table that would take more than there may be is not read") {
  SymbolFile file;
  file.sections[0].sh_size = file.sections[1].sh_size = 2 * vmm::ElfFile::most_bytes;
  const std::vector<std::byte> bytes = file.bytes(4096);
  const vmm::ElfFile huge(
      [&bytes](std::uint64_t offset, std::span<std::byte> to) {
        if (to.size() > vmm::ElfFile::most_bytes || offset >= SymbolFile::symbols_at) {
          return false;
        }
        std::memcpy(to.data(), bytes.data() + offset, to.size());
        return true;
      },
      ~std::uint64_t{0});
  CHECK(Symbols::read(huge, AddressesOf::memory).empty());
}
