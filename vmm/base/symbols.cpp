// SPDX-License-Identifier: MIT
#include "vmm/base/symbols.hpp"

#include <elf.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "vmm/base/source_lines.hpp"

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

// What the thread that asks first has read.
struct Symbols::Lines {
  explicit Lines(ElfFile where) : file(std::move(where)) {}

  std::mutex mutex; // guards `table`
  const ElfFile file;
  std::optional<SourceLines> table;
};

Symbols Symbols::read(const ElfFile& file, AddressesOf addresses) {
  return read(file, addresses, file.segments());
}

Symbols Symbols::read(const ElfFile& file, AddressesOf addresses,
                      std::span<const Elf64_Phdr> segments) {
  Symbols result;
  result.addresses_ = addresses;
  result.segments_.assign(segments.begin(), segments.end());
  const auto sections = file.sections();
  const Elf64_Shdr* const table = symbol_table(sections);
  if (table == nullptr) {
    return result;
  }
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

std::string Symbols::place_at(std::uint64_t address) const {
  const Function* const function = find(address);
  return function == nullptr ? std::string()
                             : fmt::format("{}+{:#x}", demangle(names_.data() + function->name),
                                           address - function->start);
}

void Symbols::add_lines(ElfFile file) {
  lines_ = std::make_shared<Lines>(std::move(file));
}

std::uint64_t Symbols::line_bytes() const {
  if (!lines_) {
    return 0;
  }
  const std::scoped_lock lock(lines_->mutex);
  return lines_->table ? lines_->table->bytes() : 0;
}

std::string Symbols::line_at(std::uint64_t address) const {
  const auto at =
      addresses_ == AddressesOf::file ? address_of(segments_, address) : std::optional(address);
  if (!lines_ || !at) {
    return {};
  }
  const std::scoped_lock lock(lines_->mutex);
  if (!lines_->table) {
    lines_->table = SourceLines::read(lines_->file);
  }
  return lines_->table->at(*at);
}

std::string Symbols::describe(std::uint64_t address) const {
  std::string text = fmt::format("{:#x}", address);
  if (const std::string place = place_at(address); !place.empty()) {
    text += " " + place;
  }
  if (const std::string line = line_at(address); !line.empty()) {
    text += " (" + line + ")";
  }
  return text;
}

} // namespace vmm
