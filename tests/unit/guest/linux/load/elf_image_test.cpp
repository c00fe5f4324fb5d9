// SPDX-License-Identifier: MIT
#include "guest/linux/load/elf_image.hpp"

#include <elf.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <span>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::ElfImage;

// A file of headers only: what is read of it are the first bytes.
struct File {
  Elf64_Ehdr elf{};
  std::vector<Elf64_Phdr> headers;

  File() {
    std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
    elf.e_ident[EI_CLASS] = ELFCLASS64;
    elf.e_ident[EI_DATA] = ELFDATA2LSB;
    elf.e_type = ET_EXEC;
    elf.e_machine = EM_X86_64;
    elf.e_phoff = sizeof elf;
    elf.e_phentsize = sizeof(Elf64_Phdr);
    elf.e_entry = 0x401234;
    headers.push_back({PT_LOAD, PF_R, 0, 0x400000, 0x400000, 0x800, 0x800, 0x1000});
    headers.push_back({PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0x401000, 0x2345, 0x2345, 0x1000});
    headers.push_back({PT_LOAD, PF_R | PF_W, 0x3dc8, 0x404dc8, 0x404dc8, 0x100, 0x5000, 0x1000});
  }
  [[nodiscard]] std::vector<std::byte> head() const {
    Elf64_Ehdr copy = elf;
    copy.e_phnum = static_cast<std::uint16_t>(headers.size());
    std::vector<std::byte> bytes(sizeof copy);
    std::memcpy(bytes.data(), &copy, sizeof copy);
    return bytes;
  }
  [[nodiscard]] std::vector<std::byte> table() const {
    const auto bytes = std::as_bytes(std::span(headers));
    return {bytes.begin(), bytes.end()};
  }
  [[nodiscard]] auto parse() const { return ElfImage::parse(head(), table()); }
};

} // namespace

TEST_CASE("an executable's segments, entry and headers are read") {
  const auto image = File().parse();
  REQUIRE(image);
  CHECK_FALSE(image->movable());
  CHECK(image->entry() == 0x401234);
  CHECK(image->segments().size() == 3);
  CHECK(image->start() == 0x400000);
  CHECK(image->end() == 0x40a000);
  CHECK(image->headers_address() == 0x400040);
  CHECK(image->headers() == 3);
  CHECK(image->linker_bytes() == 0);
  CHECK(image->segments()[2].memory_bytes == 0x5000);
  CHECK(image->segments()[2].file_bytes == 0x100);
}

TEST_CASE("a shared object may lie anywhere and names its dynamic linker") {
  File file;
  file.elf.e_type = ET_DYN;
  file.headers.push_back({PT_INTERP, PF_R, 0x318, 0x318, 0x318, 28, 28, 1});
  const auto image = file.parse();
  REQUIRE(image);
  CHECK(image->movable());
  CHECK(image->linker_offset() == 0x318);
  CHECK(image->linker_bytes() == 28);
}

TEST_CASE("headers that no segment holds have no address") {
  File file;
  file.headers[0].p_filesz = 0x40;
  file.headers[0].p_memsz = 0x40;
  CHECK(file.parse()->headers_address() == 0);
}

TEST_CASE("what is no program for this machine, or damaged, is ENOEXEC") {
  const std::vector<std::function<void(File&)>> damages{
      [](File& f) { f.elf.e_ident[0] = 0; },
      [](File& f) { f.elf.e_ident[EI_CLASS] = ELFCLASS32; },
      [](File& f) { f.elf.e_ident[EI_DATA] = ELFDATA2MSB; },
      [](File& f) { f.elf.e_machine = EM_AARCH64; },
      [](File& f) { f.elf.e_type = ET_REL; },
      [](File& f) { f.elf.e_type = ET_CORE; },
      [](File& f) { f.elf.e_phentsize = 32; },
      [](File& f) { f.elf.e_phoff = ~std::uint64_t{0}; },
      [](File& f) { f.headers.clear(); },
      [](File& f) { f.headers.resize(ElfImage::max_headers + 1); },
      [](File& f) {
        f.headers.erase(f.headers.begin(), f.headers.end());
        f.headers.push_back({});
      },
      [](File& f) { f.headers[1].p_filesz = f.headers[1].p_memsz + 1; },
      [](File& f) { f.headers[2].p_memsz = ~std::uint64_t{0}; },
      [](File& f) { f.headers[2].p_vaddr = ~std::uint64_t{0} - 0x2237; },
      [](File& f) { f.headers[1].p_offset += 8; },
      [](File& f) {
        f.headers[1].p_vaddr = 0x400000;
        f.headers[1].p_offset = 0;
      },
      [](File& f) { std::swap(f.headers[0], f.headers[2]); },
      [](File& f) {
        f.headers.push_back({PT_INTERP, PF_R, 0x318, 0x318, 0x318, 1, 1, 1});
      },
      [](File& f) {
        f.headers.push_back({PT_INTERP, PF_R, 0x318, 0x318, 0x318, 4097, 4097, 1});
      },
  };
  for (const auto& damage : damages) {
    File file;
    damage(file);
    const auto image = file.parse();
    REQUIRE_FALSE(image);
    CHECK(image.error() == ENOEXEC);
  }
  const std::vector<std::byte> head = File().head();
  const std::vector<std::byte> table = File().table();
  CHECK(ElfImage::header_table(std::span(head).first(63)).error() == ENOEXEC);
  CHECK(ElfImage::parse(head, std::span(table).first(56)).error() == EIO);
}

TEST_CASE("more segments than there is room for are refused, not forgotten") {
  File file;
  for (std::uint64_t at = 0x500000; file.headers.size() <= ElfImage::max_segments; at += 0x1000) {
    file.headers.push_back({PT_LOAD, PF_R, 0, at, at, 16, 16, 0x1000});
  }
  CHECK(file.parse().error() == ENOMEM);
}

TEST_CASE("random headers never give a segment outside the image, or an image without end") {
  std::mt19937_64 random(3); // NOLINT(cert-msc*): the same every time
  unsigned accepted = 0;
  for (unsigned round = 0; round < 20'000; ++round) {
    File file;
    for (unsigned change = 0; change < 1 + round % 3; ++change) {
      auto table = std::as_writable_bytes(std::span(file.headers));
      table[random() % table.size()] = static_cast<std::byte>(random());
    }
    if (const auto image = file.parse()) {
      ++accepted;
      REQUIRE(image->start() < image->end());
      REQUIRE(image->end() <= (std::uint64_t{1} << 47) + 4096);
      for (const auto& segment : image->segments()) {
        REQUIRE(segment.address >= image->start());
        REQUIRE(segment.address + segment.memory_bytes <= image->end());
        REQUIRE(segment.file_bytes <= segment.memory_bytes);
      }
    }
  }
  CHECK(accepted > 100);
}

TEST_CASE("this very test is an ELF file") {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  std::array<char, 4096> bytes{};
  file.read(bytes.data(), bytes.size());
  const auto head = std::as_bytes(std::span(bytes));
  const auto table = ElfImage::header_table(head);
  REQUIRE(table);
  const auto image = ElfImage::parse(head, head.subspan(table->offset, table->bytes));
  REQUIRE(image);
  CHECK(image->segments().size() >= 2);
  CHECK(image->linker_bytes() > 10);
}
