// SPDX-License-Identifier: MIT
// ELF files out of sections, and tables of lines for them.
#pragma once

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/base/elf_file.hpp"

namespace test_support {

// Numbers and strings, one behind the other.
class Bytes {
 public:
  template <typename T> Bytes& put(T value) {
    const auto* const from = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), from, from + sizeof value);
    return *this;
  }
  Bytes& text(std::string_view value) { // with its NUL
    std::ranges::transform(value, std::back_inserter(bytes_),
                           [](char c) { return static_cast<std::byte>(c); });
    return put(std::uint8_t{0});
  }
  Bytes& all(const Bytes& other) {
    bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
    return *this;
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] const std::vector<std::byte>& get() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class ElfBuilder {
 public:
  ElfBuilder() {
    std::memcpy(header_.e_ident, ELFMAG, SELFMAG);
    section("", SHT_NULL, {});
  }
  ElfBuilder& section(std::string name, std::uint32_t type, std::vector<std::byte> content,
                      std::uint64_t flags = 0) {
    sections_.push_back({std::move(name), type, std::move(content), flags});
    return *this;
  }
  // Memory at `address` is the file from `offset` on.
  ElfBuilder& segment(std::uint64_t address, std::uint64_t offset, std::uint64_t bytes) {
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_vaddr = address;
    segment.p_offset = offset;
    segment.p_filesz = bytes;
    segments_.push_back(segment);
    return *this;
  }

  [[nodiscard]] std::vector<std::byte> bytes() const {
    Bytes names;
    std::vector<Elf64_Shdr> table;
    Bytes content;
    const std::size_t content_at = sizeof header_ + segments_.size() * sizeof(Elf64_Phdr);
    const auto add = [&](const Section& from) {
      Elf64_Shdr& to = table.emplace_back();
      to.sh_name = static_cast<std::uint32_t>(names.size());
      to.sh_type = from.type;
      to.sh_flags = from.flags;
      to.sh_offset = content_at + content.size();
      to.sh_size = from.content.size();
      names.text(from.name);
      for (const std::byte byte : from.content) {
        content.put(byte);
      }
    };
    std::ranges::for_each(sections_, add);
    Bytes all_names = names;
    add({".shstrtab", SHT_STRTAB, all_names.text(".shstrtab").get(), 0});
    Elf64_Ehdr header = header_;
    header.e_phoff = sizeof header;
    header.e_phnum = static_cast<std::uint16_t>(segments_.size());
    header.e_shoff = content_at + content.size();
    header.e_shnum = static_cast<std::uint16_t>(table.size());
    header.e_shstrndx = static_cast<std::uint16_t>(table.size() - 1);
    Bytes file;
    file.put(header);
    for (const Elf64_Phdr& segment : segments_) {
      file.put(segment);
    }
    file.all(content);
    for (const Elf64_Shdr& section : table) {
      file.put(section);
    }
    return file.get();
  }

 private:
  struct Section {
    std::string name;
    std::uint32_t type;
    std::vector<std::byte> content;
    std::uint64_t flags;
  };
  Elf64_Ehdr header_{};
  std::vector<Section> sections_;
  std::vector<Elf64_Phdr> segments_;
};

// A file that lies in memory.
inline vmm::ElfFile elf_file(std::vector<std::byte> bytes) {
  const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  return {[kept](std::uint64_t offset, std::span<std::byte> to) {
            std::memcpy(to.data(), kept->data() + offset, to.size());
            return true;
          },
          kept->size()};
}

// A unit of DWARF's version 2 to 5: files a.cpp (number 1) and sub/b.cpp (2). Code from `start` on
// is a.cpp:10, from 4 bytes later on a.cpp:12, from 20 bytes later on sub/b.cpp:300, and ends after
// 30; 25 bytes later is code of no line.
inline Bytes line_unit(std::uint16_t version, std::uint64_t start) {
  constexpr std::uint8_t opcode_base = 10;
  constexpr std::int8_t line_base = -3;
  constexpr std::uint8_t line_range = 12;
  Bytes header;
  header.put(std::uint8_t{1}); // shortest instruction
  if (version >= 4) {
    header.put(std::uint8_t{1});
  }
  header.put(std::uint8_t{1}).put(line_base).put(line_range).put(opcode_base);
  for (const std::uint8_t operands : std::array<std::uint8_t, 9>{0, 1, 1, 1, 1, 0, 0, 0, 1}) {
    header.put(operands);
  }
  if (version >= 5) {
    constexpr std::uint8_t path = 1, directory = 2, string = 8, udata = 15;
    header.put(std::uint8_t{1}).put(path).put(string).put(std::uint8_t{2});
    header.text("/where/it/was/compiled").text("sub");
    header.put(std::uint8_t{2}).put(path).put(string).put(directory).put(udata);
    header.put(std::uint8_t{3});
    header.text("a.cpp").put(std::uint8_t{0});
    header.text("./a.cpp").put(std::uint8_t{0});
    header.text("b.cpp").put(std::uint8_t{1});
  } else {
    header.text("sub").put(std::uint8_t{0});
    header.text("./a.cpp").put(std::uint8_t{0}).put(std::uint8_t{0}).put(std::uint8_t{0});
    header.text("b.cpp").put(std::uint8_t{1}).put(std::uint8_t{0}).put(std::uint8_t{0});
    header.put(std::uint8_t{0});
  }
  const auto special = [](unsigned lines, unsigned bytes) {
    return static_cast<std::uint8_t>(lines - static_cast<unsigned>(line_base) + line_range * bytes +
                                     opcode_base);
  };
  Bytes program;
  program.put(std::uint8_t{0}).put(std::uint8_t{9}).put(std::uint8_t{2}).put(start);
  program.put(std::uint8_t{3}).put(std::uint8_t{9}).put(std::uint8_t{1}); // 9 lines on: a row
  program.put(std::uint8_t{5}).put(std::uint8_t{7});                      // a column
  program.put(special(2, 4));
  program.put(std::uint8_t{4}).put(std::uint8_t{2});                            // the other file
  program.put(std::uint8_t{3}).put(std::uint8_t{0xa0}).put(std::uint8_t{0x02}); // 288 lines on
  program.put(std::uint8_t{9}).put(std::uint16_t{16}).put(std::uint8_t{1});
  program.put(std::uint8_t{3}).put(std::uint8_t{0xd4}).put(std::uint8_t{0x7d}); // 300 back
  program.put(std::uint8_t{2}).put(std::uint8_t{5}).put(std::uint8_t{1});
  program.put(std::uint8_t{2}).put(std::uint8_t{5});
  program.put(std::uint8_t{0}).put(std::uint8_t{1}).put(std::uint8_t{1});

  Bytes unit;
  unit.put(version);
  if (version >= 5) {
    unit.put(std::uint8_t{8}).put(std::uint8_t{0});
  }
  unit.put(static_cast<std::uint32_t>(header.size())).all(header).all(program);
  return Bytes().put(static_cast<std::uint32_t>(unit.size())).all(unit);
}

} // namespace test_support
