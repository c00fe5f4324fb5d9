// SPDX-License-Identifier: MIT
// Any bytes as an ELF file of a guest's, or changes to a good one: its symbols are read within the
// file, and every address has a name or none.
#include <elf.h>

#include <array>
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/symbol_file.hpp"
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

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  if (bytes.take<std::uint8_t>() % 2 == 0) {
    read(std::as_bytes(bytes.rest()));
    return 0;
  }
  test_support::SymbolFile good;
  good.sections[0].sh_type = SHT_DYNSYM;
  std::vector<std::byte> file = good.bytes(0x400);
  while (!bytes.empty()) {
    const std::size_t at = bytes.below(0x330);
    file[at] = bytes.take<std::byte>();
    read(file);
  }
  read(file);
  return 0;
}
