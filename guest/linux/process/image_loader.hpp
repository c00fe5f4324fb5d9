// SPDX-License-Identifier: MIT
// An ELF file in a program's memory: whole pages show the file and come when they are touched, what
// shares a page with something else is read.
#pragma once

#include <cstdint>
#include <memory>

#include "guest/linux/base/text.hpp"
#include "guest/linux/files/mapped_files.hpp"
#include "guest/linux/load/elf_image.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

class ImageLoader {
 public:
  // Both outlive this.
  ImageLoader(AddressSpace& memory, MappedFiles& files) : memory_(memory), files_(files) {}

  // What a file asks for. `linker` gets the path of its dynamic linker, or stays empty; null: it
  // may have none. Errors are those of execve.
  [[nodiscard]] static Or<ElfImage> parse(File& file, Text* linker);
  // Maps it. Returns what is to be added to the file's addresses; after an error, what has been
  // mapped stays.
  [[nodiscard]] Or<std::uint64_t> map(const std::shared_ptr<File>& file, const ElfImage& image);

 private:
  // Addresses are the program's: the file's and `base`.
  [[nodiscard]] int load_segments(const std::shared_ptr<File>& file, const ElfImage& image,
                                  std::uint64_t base);
  [[nodiscard]] int show_segment(const std::shared_ptr<File>& file, const ElfSegment& segment,
                                 std::uint64_t start, std::uint64_t end, std::uint64_t base);
  [[nodiscard]] int read_segment(File& file, const ElfSegment& segment, std::uint64_t start,
                                 std::uint64_t end, std::uint64_t base);
  [[nodiscard]] int protect_segments(const ElfImage& image, std::uint64_t base);

  AddressSpace& memory_;
  MappedFiles& files_;
};

} // namespace guest::linux
