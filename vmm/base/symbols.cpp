// SPDX-License-Identifier: MIT
#include "vmm/base/symbols.hpp"

#include <elf.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include <fmt/core.h>

// <cxxabi.h> would declare a namespace `abi`, the name of the project's own; this is the one
// function of it that is needed (Itanium C++ ABI, 3.4).
namespace __cxxabiv1 {
extern "C" char* __cxa_demangle(const char* name, char* buffer, std::size_t* length, int* status);
}

namespace vmm {

namespace {

// Names of files that anybody has made: what a name refers back to may double its text each time,
// and its parts are taken apart on the stack.
bool is_harmless(const char* name) {
  constexpr std::size_t most_bytes = 1024;
  constexpr unsigned most_references = 20;
  if (::strnlen(name, most_bytes + 1) > most_bytes) {
    return false;
  }
  unsigned references = 0; // S_, S1A_, T_, T0_
  for (const char* at = name; *at != '\0'; ++at) {
    if (*at == 'S' || *at == 'T') {
      const char* end = at + 1;
      while ((*end >= '0' && *end <= '9') || (*end >= 'A' && *end <= 'Z')) {
        ++end;
      }
      references += *end == '_' ? 1 : 0;
    }
  }
  return references <= most_references;
}

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      __cxxabiv1::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return text ? text.get() : name;
}

class ElfFile {
 public:
  ElfFile(const ElfReader& read, std::uint64_t bytes) : read_(read), bytes_(bytes) {}

  // The `count` objects at `offset`, copied; empty when they do not lie inside, or are too many.
  template <typename T>
  [[nodiscard]] std::vector<T> array(std::uint64_t offset, std::uint64_t count) const {
    if (offset > bytes_ || count > (bytes_ - offset) / sizeof(T) ||
        count > Symbols::most_bytes / sizeof(T)) {
      return {};
    }
    std::vector<T> objects(count);
    if (objects.empty()) {
      return objects; // nothing is asked for
    }
    return read_(offset, std::as_writable_bytes(std::span(objects))) ? objects : std::vector<T>();
  }

 private:
  const ElfReader& read_;
  const std::uint64_t bytes_;
};

// Where in the file an address lies; empty when no segment has it.
std::optional<std::uint64_t> offset_of(std::span<const Elf64_Phdr> segments,
                                       std::uint64_t address) {
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
        address - segment.p_vaddr < segment.p_filesz) {
      return segment.p_offset + (address - segment.p_vaddr);
    }
  }
  return std::nullopt;
}

// The table with all symbols, or the one that is left of a file that was stripped.
const Elf64_Shdr* symbol_table(std::span<const Elf64_Shdr> sections) {
  for (const std::uint32_t type : {std::uint32_t{SHT_SYMTAB}, std::uint32_t{SHT_DYNSYM}}) {
    const auto found = std::ranges::find(sections, type, &Elf64_Shdr::sh_type);
    if (found != sections.end() && found->sh_link < sections.size()) {
      return &*found;
    }
  }
  return nullptr;
}

} // namespace

Symbols Symbols::parse(std::span<const std::byte> elf) {
  return read(
      [elf](std::uint64_t offset, std::span<std::byte> to) {
        std::ranges::copy(elf.subspan(offset, to.size()), to.begin());
        return true;
      },
      elf.size(), AddressesOf::memory);
}

Symbols Symbols::read(const ElfReader& read, std::uint64_t file_bytes, AddressesOf addresses) {
  const ElfFile file(read, file_bytes);
  Symbols result;
  result.addresses_ = addresses;
  const auto headers = file.array<Elf64_Ehdr>(0, 1);
  if (headers.empty() || std::memcmp(headers[0].e_ident, ELFMAG, SELFMAG) != 0) {
    return result;
  }
  const auto sections = file.array<Elf64_Shdr>(headers[0].e_shoff, headers[0].e_shnum);
  const Elf64_Shdr* const table = symbol_table(sections);
  if (table == nullptr) {
    return result;
  }
  constexpr unsigned most_segments = 64; // each address is looked up in all of them
  const auto segments = addresses == AddressesOf::file && headers[0].e_phnum <= most_segments
                            ? file.array<Elf64_Phdr>(headers[0].e_phoff, headers[0].e_phnum)
                            : std::vector<Elf64_Phdr>();
  const Elf64_Shdr& names = sections[table->sh_link];
  result.names_ = file.array<char>(names.sh_offset, names.sh_size);
  result.names_.push_back('\0');
  for (const Elf64_Sym& symbol :
       file.array<Elf64_Sym>(table->sh_offset, table->sh_size / sizeof(Elf64_Sym))) {
    const auto start = addresses == AddressesOf::file ? offset_of(segments, symbol.st_value)
                                                      : std::optional(symbol.st_value);
    if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_shndx != SHN_UNDEF && start &&
        symbol.st_name < result.names_.size()) {
      result.functions_.push_back({*start, symbol.st_size, symbol.st_name});
    }
  }
  std::ranges::sort(result.functions_, {}, &Function::start);
  return result;
}

const Symbols::Function* Symbols::find(std::uint64_t address) const {
  auto after = std::ranges::upper_bound(functions_, address, {}, &Function::start);
  if (after == functions_.begin()) {
    return nullptr;
  }
  const Function& function = *--after;
  return address - function.start < std::max<std::uint64_t>(function.bytes, 1) ? &function
                                                                               : nullptr;
}

std::string Symbols::function_at(std::uint64_t address) const {
  const Function* const function = find(address);
  if (function == nullptr) {
    return {};
  }
  const char* const name = names_.data() + function->name;
  if (addresses_ == AddressesOf::file && !is_harmless(name)) {
    return {name, ::strnlen(name, most_name_bytes)};
  }
  std::string text = demangle(name);
  text.resize(std::min(text.size(), most_name_bytes));
  return text;
}

std::string Symbols::describe(std::uint64_t address) const {
  const Function* const function = find(address);
  return function == nullptr
             ? fmt::format("{:#x}", address)
             : fmt::format("{:#x} {}+{:#x}", address, demangle(names_.data() + function->name),
                           address - function->start);
}

} // namespace vmm
