// SPDX-License-Identifier: MIT
// Any bytes as an ELF file of a guest's, or changes to a good one: its symbols are read within the
// file, and every address has a name or none.
#include <elf.h>

#include <array>
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/base/symbols.hpp"

namespace {

using vmm::AddressesOf;

void read(std::span<const std::byte> file) {
  const auto reader = [file](std::uint64_t offset, std::span<std::byte> to) {
    fuzz::require(offset <= file.size() && to.size() <= file.size() - offset);
    std::memcpy(to.data(), file.data() + offset, to.size());
    return true;
  };
  constexpr std::array<std::uint64_t, 6> addresses{0, 1, 0x400, 0x4010, 0x5000, ~std::uint64_t{0}};
  for (const AddressesOf by : {AddressesOf::memory, AddressesOf::file}) {
    const auto symbols = vmm::Symbols::read(reader, file.size(), by);
    fuzz::require(symbols.bytes() <= 4 * file.size() + sizeof(Elf64_Ehdr));
    for (const std::uint64_t address : addresses) {
      static_cast<void>(symbols.function_at(address));
      fuzz::require(symbols.describe(address).starts_with("0x"));
    }
  }
}

// One segment, one table, with its strings.
std::vector<std::byte> good_file() {
  constexpr char strings[] = "\0_ZN2mm5BuddyC1Ev\0plain";
  std::vector<std::byte> file(0x400);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_phoff = 0x80;
  header.e_phnum = 1;
  header.e_shoff = 0x100;
  header.e_shnum = 2;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_vaddr = 0x4000;
  segment.p_filesz = 0x400;
  std::array<Elf64_Shdr, 2> sections{};
  sections[0].sh_type = SHT_DYNSYM;
  sections[0].sh_link = 1;
  sections[0].sh_offset = 0x200;
  sections[0].sh_size = 2 * sizeof(Elf64_Sym);
  sections[1].sh_offset = 0x300;
  sections[1].sh_size = sizeof strings;
  const std::array<Elf64_Sym, 2> symbols{
      Elf64_Sym{18, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x4000, 0x20},
      Elf64_Sym{1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x4100, 0x20}};
  const auto put = [&file](std::size_t at, const auto& object) {
    std::memcpy(file.data() + at, &object, sizeof object);
  };
  put(0, header);
  put(0x80, segment);
  put(0x100, sections);
  put(0x200, symbols);
  put(0x300, strings);
  return file;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  if (bytes.take<std::uint8_t>() % 2 == 0) {
    read(std::as_bytes(bytes.rest()));
    return 0;
  }
  std::vector<std::byte> file = good_file();
  while (!bytes.empty()) {
    const std::size_t at = bytes.below(0x330);
    file[at] = bytes.take<std::byte>();
    read(file);
  }
  read(file);
  return 0;
}
