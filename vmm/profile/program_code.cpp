// SPDX-License-Identifier: MIT
#include "vmm/profile/program_code.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

#include "vmm/base/fd_status.hpp"
#include "vmm/profile/debug_file.hpp"

namespace vmm {
namespace {

// A place is the number of a file, from 1 on, and below it where in the file.
constexpr unsigned offset_bits = 48;
constexpr std::uint64_t most_offset = (std::uint64_t{1} << offset_bits) - 1;

// Only while it is open.
ElfFile borrowed(const CodeMapping& mapping) {
  return {[fd = mapping.fd](std::uint64_t offset, std::span<std::byte> to) {
            return ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset)) ==
                   static_cast<ssize_t>(to.size());
          },
          mapping.file_bytes};
}

// The same file, opened again to be kept; empty when the name leads to another by now.
std::optional<ElfFile> own(const CodeMapping& mapping) {
  UniqueFd fd = mapping.open(mapping.path);
  struct stat is {};
  if (fd_status(fd.get(), is) != 0 || is.st_dev != mapping.device || is.st_ino != mapping.inode) {
    return std::nullopt;
  }
  return elf_file(std::move(fd));
}

std::optional<ElfFile> separate(const ElfFile& file, const CodeMapping& mapping) {
  for (const std::string& name : debug_file_names(file, mapping.path)) {
    UniqueFd fd = mapping.open(name);
    if (!fd.valid()) {
      continue;
    }
    ElfFile found = elf_file(std::move(fd));
    if (is_debug_file(file, found)) {
      return found;
    }
  }
  return std::nullopt;
}

} // namespace

// With the names that a file with debug information has beyond its own.
Symbols ProgramCode::symbols_of_locked(const CodeMapping& mapping) {
  const ElfFile file = borrowed(mapping);
  if (lines_ == CodeLines::no || !mapping.open || debug_files_ == most_debug_files) {
    return Symbols::read(file, AddressesOf::file);
  }
  const bool has_lines = file.has_section(".debug_line");
  std::optional<ElfFile> debug = has_lines ? own(mapping) : separate(file, mapping);
  Symbols symbols;
  if (debug && !has_lines) {
    symbols = Symbols::read(*debug, AddressesOf::file, file.segments());
  }
  if (symbols.empty()) {
    symbols = Symbols::read(file, AddressesOf::file);
  }
  if (debug) {
    ++debug_files_;
    symbols.add_lines(std::move(*debug));
  }
  return symbols;
}

std::size_t ProgramCode::file_of_locked(const CodeMapping& mapping) {
  const auto known = std::ranges::find_if(files_, [&mapping](const File& file) {
    return file.device == mapping.device && file.inode == mapping.inode;
  });
  if (known != files_.end() || files_.size() == most_files) {
    return static_cast<std::size_t>(known - files_.begin());
  }
  File file{mapping.device, mapping.inode, mapping.path.substr(mapping.path.rfind('/') + 1), {}};
  if (symbol_bytes_ < most_symbol_bytes) {
    file.symbols = symbols_of_locked(mapping);
    symbol_bytes_ += file.symbols.bytes();
  }
  files_.push_back(std::move(file));
  return files_.size() - 1;
}

// Takes [start, end) out of what is known.
void ProgramCode::cut_locked(std::uint64_t start, std::uint64_t end) {
  auto first = mappings_.upper_bound(start);
  if (first != mappings_.begin()) {
    const auto before = std::prev(first);
    const auto [from, mapping] = *before;
    if (mapping.end > start) {
      if (from < start) {
        before->second.end = start;
      } else {
        mappings_.erase(before);
      }
      if (mapping.end > end && mappings_.size() < most_mappings) {
        mappings_.emplace(end, Mapping{mapping.end, mapping.place + (end - from)});
        return;
      }
    }
  }
  while (first != mappings_.end() && first->first < end) {
    const auto [from, mapping] = *first;
    first = mappings_.erase(first);
    if (mapping.end > end) {
      if (mappings_.size() < most_mappings) {
        mappings_.emplace(end, Mapping{mapping.end, mapping.place + (end - from)});
      }
      return;
    }
  }
}

void ProgramCode::add(const CodeMapping& mapping) {
  const std::uint64_t address = mapping.address;
  const std::uint64_t offset = mapping.offset;
  const std::uint64_t bytes = mapping.bytes;
  if (bytes == 0 || address > most_offset || bytes > most_offset - address ||
      offset > most_offset || bytes > most_offset - offset) {
    return;
  }
  const std::scoped_lock lock(mutex_);
  cut_locked(address, address + bytes);
  const std::size_t file = file_of_locked(mapping);
  if (file == most_files || mappings_.size() >= most_mappings) {
    return;
  }
  mappings_[address] = {address + bytes, (std::uint64_t{file} + 1) << offset_bits | offset};
}

std::uint64_t ProgramCode::place_of(std::uint64_t address) const {
  if (address > most_offset) {
    return most_offset; // where there is no code; the bits above would name a file
  }
  const std::scoped_lock lock(mutex_);
  const auto after = mappings_.upper_bound(address);
  if (after == mappings_.begin()) {
    return address;
  }
  const auto& [start, mapping] = *std::prev(after);
  return address < mapping.end ? mapping.place + (address - start) : address;
}

std::string ProgramCode::function_at(std::uint64_t place) const {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t number = place >> offset_bits;
  if (number == 0 || number > files_.size()) {
    return {};
  }
  const File& file = files_[number - 1];
  std::string function = file.symbols.function_at(place & most_offset);
  return function.empty() ? "[" + file.name + "]" : function;
}

std::string ProgramCode::line_at(std::uint64_t place) const {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t number = place >> offset_bits;
  if (number == 0 || number > files_.size()) {
    return {};
  }
  const Symbols& symbols = files_[number - 1].symbols;
  const std::uint64_t before = symbols.line_bytes();
  if (before == 0 && line_bytes_ >= most_line_bytes) {
    return {};
  }
  std::string line = symbols.line_at(place & most_offset);
  line_bytes_ += symbols.line_bytes() - before;
  return line;
}

} // namespace vmm
