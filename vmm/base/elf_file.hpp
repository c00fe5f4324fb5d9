// SPDX-License-Identifier: MIT
// Parts of an ELF file, which anybody may have made: what is read lies within the file, and is no
// more than is asked for. elf(5) and the System V ABI say what they are.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace vmm {

// A file's bytes from `offset` on; false when they are not to be had.
using ElfReader = std::function<bool(std::uint64_t offset, std::span<std::byte> to)>;

class ElfFile {
 public:
  // An array or a section beyond this is as good as none.
  static constexpr std::uint64_t most_bytes = std::uint64_t{128} << 20;

  // Of a file of so many bytes. What is no ELF file has neither sections nor segments.
  ElfFile(ElfReader read, std::uint64_t bytes);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::span<const Elf64_Shdr> sections() const { return sections_; }
  // Those of a file that has more than can sensibly be are left out.
  static constexpr unsigned most_segments = 64;
  [[nodiscard]] std::span<const Elf64_Phdr> segments() const { return segments_; }

  // The `count` objects at `offset`, copied; empty when they do not lie inside, or are too many.
  template <typename T>
  [[nodiscard]] std::vector<T> array(std::uint64_t offset, std::uint64_t count) const {
    if (offset > bytes_ || count > (bytes_ - offset) / sizeof(T) ||
        count > most_bytes / sizeof(T)) {
      return {};
    }
    std::vector<T> objects(count);
    if (objects.empty()) {
      return objects; // nothing is asked for
    }
    return read_(offset, std::as_writable_bytes(std::span(objects))) ? objects : std::vector<T>();
  }

  // What the section of this name holds, inflated where it is deflated; empty when there is none,
  // when it is compressed otherwise or damaged, or is more than `most`.
  [[nodiscard]] std::vector<std::byte> section(std::string_view name,
                                               std::uint64_t most = most_bytes) const;
  [[nodiscard]] bool has_section(std::string_view name) const { return find(name) != nullptr; }

 private:
  [[nodiscard]] const Elf64_Shdr* find(std::string_view name) const;

  ElfReader read_;
  std::uint64_t bytes_;
  std::vector<Elf64_Shdr> sections_;
  std::vector<Elf64_Phdr> segments_;
  std::vector<char> section_names_; // each ended by NUL
};

// Where in the file an address lies, and the other way round; empty when no segment has it.
[[nodiscard]] std::optional<std::uint64_t> offset_of(std::span<const Elf64_Phdr> segments,
                                                     std::uint64_t address);
[[nodiscard]] std::optional<std::uint64_t> address_of(std::span<const Elf64_Phdr> segments,
                                                      std::uint64_t offset);

} // namespace vmm
