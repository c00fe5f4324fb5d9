// SPDX-License-Identifier: MIT
#include "vmm/base/elf_file.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <zlib.h>

namespace vmm {
namespace {

// All of it, or nothing: it says how much it becomes.
std::vector<std::byte> inflated(std::span<const std::byte> section, std::uint64_t most) {
  Elf64_Chdr header;
  if (section.size() < sizeof header) {
    return {};
  }
  std::memcpy(&header, section.data(), sizeof header);
  const auto packed = section.subspan(sizeof header);
  // Deflate packs 1032 bytes into one at best.
  constexpr std::uint64_t most_times = 1032;
  if (header.ch_type != ELFCOMPRESS_ZLIB || header.ch_size > most ||
      header.ch_size / most_times > packed.size()) {
    return {};
  }
  std::vector<std::byte> plain(header.ch_size);
  uLongf bytes = plain.size();
  const int result =
      ::uncompress(reinterpret_cast<Bytef*>(plain.data()), &bytes,
                   reinterpret_cast<const Bytef*>(packed.data()), uLong{packed.size()});
  return result == Z_OK && bytes == plain.size() ? plain : std::vector<std::byte>();
}

} // namespace

ElfFile::ElfFile(ElfReader read, std::uint64_t bytes) : read_(std::move(read)), bytes_(bytes) {
  const auto headers = array<Elf64_Ehdr>(0, 1);
  if (headers.empty() || std::memcmp(headers[0].e_ident, ELFMAG, SELFMAG) != 0) {
    return;
  }
  sections_ = array<Elf64_Shdr>(headers[0].e_shoff, headers[0].e_shnum);
  if (headers[0].e_phnum <= most_segments) {
    segments_ = array<Elf64_Phdr>(headers[0].e_phoff, headers[0].e_phnum);
  }
  if (headers[0].e_shstrndx < sections_.size()) {
    const Elf64_Shdr& names = sections_[headers[0].e_shstrndx];
    section_names_ = array<char>(names.sh_offset, names.sh_size);
    section_names_.push_back('\0');
  }
}

const Elf64_Shdr* ElfFile::find(std::string_view name) const {
  const auto found = std::ranges::find_if(sections_, [this, name](const Elf64_Shdr& section) {
    return section.sh_name < section_names_.size() &&
           std::string_view(section_names_.data() + section.sh_name) == name;
  });
  return found == sections_.end() ? nullptr : &*found;
}

std::vector<std::byte> ElfFile::section(std::string_view name, std::uint64_t most) const {
  const Elf64_Shdr* const section = find(name);
  if (section == nullptr || section->sh_type == SHT_NOBITS || section->sh_size > most) {
    return {};
  }
  auto content = array<std::byte>(section->sh_offset, section->sh_size);
  return (section->sh_flags & SHF_COMPRESSED) != 0 ? inflated(content, most) : content;
}

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

std::optional<std::uint64_t> address_of(std::span<const Elf64_Phdr> segments,
                                        std::uint64_t offset) {
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_LOAD && offset >= segment.p_offset &&
        offset - segment.p_offset < segment.p_filesz) {
      return segment.p_vaddr + (offset - segment.p_offset);
    }
  }
  return std::nullopt;
}

} // namespace vmm
