// SPDX-License-Identifier: MIT
#include "guest/linux/load/elf_image.hpp"

#include <elf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/base/highest_address.hpp"
#include "shared/address.hpp"

namespace guest::linux {

namespace {

// Of a dynamic linker's path, as Linux has it (PATH_MAX).
constexpr std::uint64_t max_path_bytes = 4096;

Protection protection_of(std::uint32_t flags) {
  return ((flags & PF_R) != 0 ? Protection{PROT_READ} : 0) |
         ((flags & PF_W) != 0 ? Protection{PROT_WRITE} : 0) |
         ((flags & PF_X) != 0 ? Protection{PROT_EXEC} : 0);
}

} // namespace

Or<ElfImage::HeaderTable> ElfImage::header_table(std::span<const std::byte> head) {
  Elf64_Ehdr elf;
  if (head.size() < sizeof elf) {
    return std::unexpected(ENOEXEC);
  }
  std::memcpy(&elf, head.data(), sizeof elf);
  const bool ours = std::memcmp(elf.e_ident, ELFMAG, SELFMAG) == 0 &&
                    elf.e_ident[EI_CLASS] == ELFCLASS64 && elf.e_ident[EI_DATA] == ELFDATA2LSB &&
                    elf.e_machine == EM_X86_64 && (elf.e_type == ET_EXEC || elf.e_type == ET_DYN) &&
                    elf.e_phentsize == sizeof(Elf64_Phdr) && elf.e_phnum != 0 &&
                    elf.e_phnum <= max_headers && elf.e_phoff <= highest_address;
  if (!ours) {
    return std::unexpected(ENOEXEC);
  }
  return HeaderTable{elf.e_phoff, elf.e_phnum * sizeof(Elf64_Phdr)};
}

// 0, or an error number. Segments come in ascending order and do not overlap, pages may be shared.
int ElfImage::add_segment(const ElfSegment& segment) {
  if (segment.file_bytes > segment.memory_bytes || segment.memory_bytes > highest_address ||
      segment.address > highest_address - segment.memory_bytes ||
      segment.file_offset > highest_address ||
      segment.address % abi::page_bytes != segment.file_offset % abi::page_bytes) {
    return ENOEXEC;
  }
  if (count_ == max_segments) {
    return ENOMEM;
  }
  if (count_ == 0) {
    start_ = abi::align_down(segment.address, abi::page_bytes);
  } else {
    const ElfSegment& last = segments_[count_ - 1];
    if (segment.address < last.address + last.memory_bytes) {
      return ENOEXEC;
    }
  }
  end_ = abi::align_up(segment.address + segment.memory_bytes, abi::page_bytes);
  segments_[count_++] = segment;
  return 0;
}

Or<ElfImage> ElfImage::parse(std::span<const std::byte> head, std::span<const std::byte> headers) {
  const Or<HeaderTable> table = header_table(head);
  if (!table) {
    return std::unexpected(table.error());
  }
  if (headers.size() != table->bytes) {
    return std::unexpected(EIO);
  }
  Elf64_Ehdr elf;
  std::memcpy(&elf, head.data(), sizeof elf);
  ElfImage image;
  image.movable_ = elf.e_type == ET_DYN;
  image.entry_ = elf.e_entry;
  image.headers_ = elf.e_phnum;
  for (std::size_t at = 0; at < headers.size(); at += sizeof(Elf64_Phdr)) {
    Elf64_Phdr header;
    std::memcpy(&header, headers.data() + at, sizeof header);
    if (header.p_type == PT_LOAD && header.p_memsz != 0) {
      const int error = image.add_segment({header.p_vaddr, header.p_memsz, header.p_offset,
                                           header.p_filesz, protection_of(header.p_flags)});
      if (error != 0) {
        return std::unexpected(error);
      }
      // Where the headers are in memory follows from where they are in the file.
      if (elf.e_phoff >= header.p_offset && table->bytes <= header.p_filesz &&
          elf.e_phoff - header.p_offset <= header.p_filesz - table->bytes) {
        image.headers_address_ = header.p_vaddr + (elf.e_phoff - header.p_offset);
      }
    } else if (header.p_type == PT_INTERP && image.linker_bytes_ == 0) {
      if (header.p_filesz < 2 || header.p_filesz > max_path_bytes ||
          header.p_offset > highest_address) {
        return std::unexpected(ENOEXEC);
      }
      image.linker_offset_ = header.p_offset;
      image.linker_bytes_ = header.p_filesz;
    }
  }
  if (image.count_ == 0) {
    return std::unexpected(ENOEXEC);
  }
  return image;
}

} // namespace guest::linux
