// SPDX-License-Identifier: MIT
// Guest images: parses and validates a flat image (guest.bin) or an ELF file (guest.elf). Both end
// up as the same flat bytes and the same abi::ImageHeader. Pure; nothing is trusted.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "shared/image_header.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

// A validated image: the header's addresses lie inside the image and segments do not overlap.
struct Image {
  abi::ImageHeader header;
  std::vector<std::byte> bytes; // header.file_bytes of them, to be placed at header.load_gpa
};

// Largest image accepted, in memory.
inline constexpr std::uint64_t max_image_bytes = std::uint64_t{64} << 20;

// Parses `file`, a whole guest.bin or guest.elf. `name` appears in error messages only. All errors
// are user errors.
[[nodiscard]] Result<Image> parse_image(std::span<const std::byte> file, const std::string& name);

// Reads the file and parses it.
[[nodiscard]] Result<Image> load_image(const std::string& path);

} // namespace vmm
