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

struct LoadedImage {
  std::uint64_t base = 0; // added to the file's addresses
  ElfImage image;
};

class ImageLoader {
 public:
  // Both outlive this.
  ImageLoader(AddressSpace& memory, MappedFiles& files) : memory_(memory), files_(files) {}

  // `linker` gets the path of the dynamic linker, or stays empty; null: it may have none. Errors
  // are those of execve; what has been mapped stays.
  [[nodiscard]] Or<LoadedImage> load(const std::shared_ptr<File>& file, Text* linker);

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
