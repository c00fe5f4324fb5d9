// SPDX-License-Identifier: MIT
#include "vmm/base/symbols.hpp"

#include <elf.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <fmt/core.h>

// <cxxabi.h> would declare a namespace `abi`, the name of the project's own; this is the one
// function of it that is needed (Itanium C++ ABI, 3.4).
namespace __cxxabiv1 {
extern "C" char* __cxa_demangle(const char* name, char* buffer, std::size_t* length, int* status);
}

namespace vmm {

namespace {

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      __cxxabiv1::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return text ? text.get() : name;
}

// The `count` objects at `offset`, copied; empty when they do not lie inside.
template <typename T>
std::vector<T> read_array(std::span<const std::byte> file, std::uint64_t offset,
                          std::uint64_t count) {
  if (offset > file.size() || count > (file.size() - offset) / sizeof(T)) {
    return {};
  }
  std::vector<T> objects(count);
  std::memcpy(objects.data(), file.data() + offset, count * sizeof(T));
  return objects;
}

} // namespace

Symbols Symbols::parse(std::span<const std::byte> elf) {
  Symbols result;
  const auto headers = read_array<Elf64_Ehdr>(elf, 0, 1);
  if (headers.empty() || std::memcmp(headers[0].e_ident, ELFMAG, SELFMAG) != 0) {
    return result;
  }
  const auto sections = read_array<Elf64_Shdr>(elf, headers[0].e_shoff, headers[0].e_shnum);
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) {
      continue;
    }
    const Elf64_Shdr& names = sections[section.sh_link];
    const auto strings = read_array<char>(elf, names.sh_offset, names.sh_size);
    const std::size_t first = result.names_.size();
    result.names_.insert(result.names_.end(), strings.begin(), strings.end());
    result.names_.push_back('\0');
    for (const Elf64_Sym& symbol :
         read_array<Elf64_Sym>(elf, section.sh_offset, section.sh_size / sizeof(Elf64_Sym))) {
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_name < strings.size()) {
        result.functions_.push_back({symbol.st_value, symbol.st_size, first + symbol.st_name});
      }
    }
  }
  std::ranges::sort(result.functions_, {}, &Function::start);
  return result;
}

std::string Symbols::describe(std::uint64_t address) const {
  auto after = std::ranges::upper_bound(functions_, address, {}, &Function::start);
  if (after != functions_.begin()) {
    const Function& function = *--after;
    if (address - function.start < std::max<std::uint64_t>(function.bytes, 1)) {
      return fmt::format("{:#x} {}+{:#x}", address, demangle(names_.data() + function.name),
                         address - function.start);
    }
  }
  return fmt::format("{:#x}", address);
}

} // namespace vmm
