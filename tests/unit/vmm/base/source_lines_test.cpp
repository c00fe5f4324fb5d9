// SPDX-License-Identifier: MIT
#include "vmm/base/source_lines.hpp"

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/elf_builder.hpp"
#include "vmm/base/symbols.hpp"

namespace {

using test_support::Bytes;
using test_support::elf_file;
using test_support::ElfBuilder;
using test_support::line_unit;
using vmm::AddressesOf;
using vmm::SourceLines;
using vmm::Symbols;

SourceLines lines_of(const Bytes& section) {
  return SourceLines::read(
      elf_file(ElfBuilder().section(".debug_line", SHT_PROGBITS, section.get()).bytes()));
}

std::vector<std::byte> deflated(const std::vector<std::byte>& plain, std::uint64_t told) {
  Elf64_Chdr header{};
  header.ch_type = ELFCOMPRESS_ZLIB;
  header.ch_size = told;
  std::vector<std::byte> packed(sizeof header + ::compressBound(plain.size()));
  std::memcpy(packed.data(), &header, sizeof header);
  uLongf bytes = packed.size() - sizeof header;
  ::compress(reinterpret_cast<Bytef*>(packed.data() + sizeof header), &bytes,
             reinterpret_cast<const Bytef*>(plain.data()), plain.size());
  packed.resize(sizeof header + bytes);
  return packed;
}

} // namespace

TEST_CASE("source lines: of all versions of DWARF") {
  for (std::uint16_t version = 2; version <= 5; ++version) {
    CAPTURE(version);
    SourceLines lines = lines_of(line_unit(version, 0x401000));
    CHECK(lines.at(0x400fff).empty());
    CHECK(lines.at(0x401000) == "a.cpp:10");
    CHECK(lines.at(0x401003) == "a.cpp:10");
    CHECK(lines.at(0x401004) == "a.cpp:12");
    CHECK(lines.at(0x401013) == "a.cpp:12");
    CHECK(lines.at(0x401014) == "sub/b.cpp:300");
    CHECK(lines.at(0x401018) == "sub/b.cpp:300");
    CHECK(lines.at(0x401019).empty()); // of no line
    CHECK(lines.at(0x40101e).empty());
  }
}

TEST_CASE("source lines: units one behind the other, those that are not known passed over") {
  Bytes section = line_unit(4, 0x500000);
  section.put(std::uint32_t{20}).put(std::uint16_t{6});
  for (int byte = 0; byte < 18; ++byte) {
    section.put(std::uint8_t{0});
  }
  section.all(line_unit(5, 0)); // thrown away by the linker
  section.all(line_unit(5, 0x400000));
  SourceLines lines = lines_of(section);
  CHECK(lines.at(0x400000) == "a.cpp:10");
  CHECK(lines.at(0x500000) == "a.cpp:10");
  CHECK(lines.at(1).empty());
}

TEST_CASE("source lines: a section that is deflated, and one that says that it is") {
  const std::vector<std::byte> plain = line_unit(5, 0x401000).get();
  const auto read = [](const std::vector<std::byte>& section) {
    return SourceLines::read(elf_file(
        ElfBuilder().section(".debug_line", SHT_PROGBITS, section, SHF_COMPRESSED).bytes()));
  };
  CHECK(read(deflated(plain, plain.size())).at(0x401004) == "a.cpp:12");
  CHECK(read(deflated(plain, plain.size() + 1)).at(0x401004).empty());
  CHECK(read(deflated(plain, plain.size() - 1)).at(0x401004).empty());
  CHECK(read(deflated(plain, std::uint64_t{1} << 60)).at(0x401004).empty());
  CHECK(read(plain).at(0x401004).empty());
  CHECK(read({}).at(0x401004).empty());
}

TEST_CASE("source lines: cut anywhere, there is nothing to read beyond") {
  const Bytes whole = line_unit(5, 0x401000);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    Bytes cut;
    for (std::size_t at = 0; at < length; ++at) {
      cut.put(whole.get()[at]);
    }
    CHECK(lines_of(cut).at(0x401004).empty());
  }
}

TEST_CASE("symbols: lines by address, and by offsets in the file, once somebody has said where") {
  Symbols none;
  CHECK(none.line_at(0x401004).empty());
  const auto file = elf_file(ElfBuilder()
                                 .segment(0x401000, 0x40, 0x100)
                                 .section(".debug_line", SHT_PROGBITS, line_unit(5, 0x401000).get())
                                 .bytes());
  Symbols by_address = Symbols::read(file, AddressesOf::memory);
  CHECK(by_address.line_at(0x401004).empty());
  CHECK(by_address.line_bytes() == 0);
  by_address.add_lines(file);
  CHECK(by_address.line_bytes() == 0); // not before it is asked
  CHECK(by_address.line_at(0x401004) == "a.cpp:12");
  CHECK(by_address.line_bytes() != 0);
  CHECK(by_address.describe(0x401004) == "0x401004 (a.cpp:12)");
  Symbols by_offset = Symbols::read(file, AddressesOf::file);
  by_offset.add_lines(file);
  CHECK(by_offset.line_at(0x44) == "a.cpp:12");
  CHECK(by_offset.line_at(0x401004).empty());
}
