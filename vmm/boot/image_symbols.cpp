// SPDX-License-Identifier: MIT
#include "vmm/boot/image_symbols.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "vmm/boot/image.hpp"
#include "vmm/io/mapped_file.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t max_elf_bytes = std::uint64_t{256} << 20;

} // namespace

std::uint64_t image_hash(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

Result<Symbols> load_symbols(const std::string& elf, std::uint64_t hash) {
  EBB_TRY_ASSIGN(opened, MappedFile::open(elf, max_elf_bytes)); // most of it says what nobody asks
  const auto kept = std::make_shared<const MappedFile>(std::move(opened));
  const MappedFile& file = *kept;
  ElfFile parts(
      [kept](std::uint64_t offset, std::span<std::byte> to) {
        std::ranges::copy(kept->bytes().subspan(offset, to.size()), to.begin());
        return true;
      },
      file.bytes().size());
  Symbols symbols = Symbols::read(parts, AddressesOf::memory);
  if (symbols.empty()) {
    return user_error("{}: no ELF file with a symbol table", elf);
  }
  if (hash != 0) {
    EBB_TRY_ASSIGN(image, parse_image(file.bytes(), elf));
    const std::uint64_t own = image_hash(image.bytes);
    if (own != hash) {
      return user_error("{}: of another build: its hash is {:016x}, the image's {:016x}", elf, own,
                        hash);
    }
  }
  file.release(file.bytes().size()); // lines are asked for seldom
  symbols.add_lines(std::move(parts));
  return symbols;
}

std::string symbols_beside(const std::string& image) {
  return std::filesystem::path(image).replace_extension(".elf").string();
}

Result<Symbols> symbols_of_image(const std::string& image, std::uint64_t hash) {
  const std::string beside = symbols_beside(image);
  auto own = load_symbols(image, hash);
  if (own || beside == image) {
    return own;
  }
  return load_symbols(beside, hash);
}

} // namespace vmm
