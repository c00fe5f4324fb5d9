// SPDX-License-Identifier: MIT
#include "vmm/profile/program_code.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

namespace vmm {
namespace {

// A place is the number of a file, from 1 on, and below it where in the file.
constexpr unsigned offset_bits = 48;
constexpr std::uint64_t most_offset = (std::uint64_t{1} << offset_bits) - 1;

Symbols symbols_of(int fd, std::uint64_t bytes) {
  return Symbols::read(
      [fd](std::uint64_t offset, std::span<std::byte> to) {
        return ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset)) ==
               static_cast<ssize_t>(to.size());
      },
      bytes, AddressesOf::file);
}

} // namespace

std::size_t ProgramCode::file_of_locked(const CodeMapping& mapping) {
  const auto known = std::ranges::find_if(files_, [&mapping](const File& file) {
    return file.device == mapping.device && file.inode == mapping.inode;
  });
  if (known != files_.end() || files_.size() == most_files) {
    return static_cast<std::size_t>(known - files_.begin());
  }
  File file{mapping.device, mapping.inode, mapping.path.substr(mapping.path.rfind('/') + 1), {}};
  if (symbol_bytes_ < most_symbol_bytes) {
    file.symbols = symbols_of(mapping.fd, mapping.file_bytes);
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

} // namespace vmm
