// SPDX-License-Identifier: MIT
// The symbols of a guest image: of guest.elf itself, or of the guest.elf beside a guest.bin. Only
// those of the very image that runs, or ran: addresses looked up in another build name the wrong
// functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/base/symbols.hpp"

namespace vmm {

// FNV-1a, 64 bit, of Image::bytes: what a trace says of its image.
[[nodiscard]] std::uint64_t image_hash(std::span<const std::byte> bytes);

// The symbols of the ELF file `elf`, which must hold the image with this hash (0: any). User error
// when it cannot be read, is no ELF file with functions, or is another build. It stays mapped:
// lines of source are read when one is asked for.
[[nodiscard]] Result<Symbols> load_symbols(const std::string& elf, std::uint64_t hash);

// The ELF file that belongs beside an image: its name, ending in .elf. It may be the image itself,
// or not be there.
[[nodiscard]] std::string symbols_beside(const std::string& image);

// Those that belong to `image`, a guest.bin or guest.elf, by load_symbols: of itself or of the file
// beside it whose name ends in .elf. An error says why there are none; that need not stop anybody.
[[nodiscard]] Result<Symbols> symbols_of_image(const std::string& image, std::uint64_t hash);

} // namespace vmm
