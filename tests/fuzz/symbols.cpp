// SPDX-License-Identifier: MIT
// Any bytes as an ELF file of a guest's, or changes to a good one: its symbols and its table of
// lines are read within the file, and every address has a name or none, and a line or none.
#include <elf.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/elf_builder.hpp"
#include "tests/support/symbol_file.hpp"
#include "vmm/base/source_lines.hpp"
#include "vmm/base/symbols.hpp"

namespace {

using vmm::AddressesOf;

// Addresses of both good files, and others.
constexpr std::array<std::uint64_t, 9> addresses{0,      1,      0x400,  0x4010,           0x5000,
                                                 0x4001, 0x4014, 0x4019, ~std::uint64_t{0}};

void read(std::span<const std::byte> file) {
  const auto reader = [file](std::uint64_t offset, std::span<std::byte> to) {
    fuzz::require(offset <= file.size() && to.size() <= file.size() - offset);
    std::memcpy(to.data(), file.data() + offset, to.size());
    return true;
  };
  const vmm::ElfFile elf(reader, file.size());
  for (const AddressesOf by : {AddressesOf::memory, AddressesOf::file}) {
    auto symbols = vmm::Symbols::read(elf, by);
    symbols.add_lines(elf);
    fuzz::require(symbols.bytes() <= 4 * file.size() + sizeof(Elf64_Ehdr));
    for (const std::uint64_t address : addresses) {
      static_cast<void>(symbols.function_at(address));
      fuzz::require(symbols.describe(address).starts_with("0x"));
      fuzz::require(symbols.line_at(address).size() <= vmm::SourceLines::most_name_bytes + 11);
    }
  }
}

std::vector<std::byte> with_lines(std::vector<std::byte> table) {
  return test_support::ElfBuilder()
      .segment(0x4000, 0x400, 0x400)
      .section(".debug_line", SHT_PROGBITS, std::move(table))
      .bytes();
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  const unsigned kind = bytes.take<std::uint8_t>() % 4;
  if (kind == 0) {
    read(std::as_bytes(bytes.rest()));
    return 0;
  }
  if (kind == 1) { // a table of lines of any bytes
    const auto rest = std::as_bytes(bytes.rest());
    read(with_lines({rest.begin(), rest.end()}));
    return 0;
  }
  test_support::SymbolFile good;
  good.sections[0].sh_type = SHT_DYNSYM;
  const std::uint16_t version = bytes.take<std::uint8_t>() % 2 == 0 ? 5 : 3;
  std::vector<std::byte> file =
      kind == 2 ? good.bytes(0x400) : with_lines(test_support::line_unit(version, 0x4000).get());
  while (!bytes.empty()) {
    const std::size_t at = bytes.below(kind == 2 ? 0x330 : file.size());
    file[at] = bytes.take<std::byte>();
    read(file);
  }
  read(file);
  return 0;
}
