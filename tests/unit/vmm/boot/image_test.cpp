// SPDX-License-Identifier: MIT
#include "vmm/boot/image.hpp"

#include <elf.h>

#include <cstring>
#include <functional>

#include <doctest/doctest.h>

#include "shared/abi_version.hpp"
#include "shared/address.hpp"

namespace {

// A small valid image: header and constants, one page of code, one of data in memory only.
struct Sample {
  abi::ImageHeader header;
  std::vector<std::byte> bytes;

  Sample() {
    header.magic = abi::image_magic;
    header.version_major = abi::version_major;
    header.version_minor = abi::version_minor;
    header.header_bytes = sizeof header;
    header.load_gpa = EBB_LOW_IMAGE_GPA;
    header.entry_gpa = EBB_LOW_IMAGE_GPA + 0x1800;
    header.file_bytes = 0x2000;
    header.memory_bytes = 0x3000;
    header.trap_stubs_gpa = EBB_LOW_IMAGE_GPA + 0x1000;
    header.segments[0] = {EBB_LOW_IMAGE_GPA, 0x800, 0, 0};
    header.segments[1] = {EBB_LOW_IMAGE_GPA + 0x1000, 0x1000, abi::segment_execute, 0};
    header.segments[2] = {EBB_LOW_IMAGE_GPA + 0x2000, 0x1000, abi::segment_write, 0};
  }

  [[nodiscard]] std::vector<std::byte> flat() const {
    std::vector<std::byte> file(0x2000, std::byte{0x90});
    std::memcpy(file.data(), &header, sizeof header);
    return file;
  }

  // The same as an ELF file with one segment per page of the flat image.
  [[nodiscard]] std::vector<std::byte> elf() const {
    const std::vector<std::byte> image = flat();
    Elf64_Ehdr ehdr{};
    std::memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
    ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    ehdr.e_type = ET_EXEC;
    ehdr.e_machine = EM_X86_64;
    ehdr.e_phoff = sizeof ehdr;
    ehdr.e_phentsize = sizeof(Elf64_Phdr);
    ehdr.e_phnum = 2;
    std::vector<std::byte> file(0x3000);
    std::memcpy(file.data(), &ehdr, sizeof ehdr);
    for (std::uint64_t index = 0; index < 2; ++index) {
      Elf64_Phdr phdr{};
      phdr.p_type = PT_LOAD;
      phdr.p_offset = 0x1000 + index * 0x1000;
      phdr.p_paddr = EBB_LOW_IMAGE_GPA + index * 0x1000;
      phdr.p_filesz = phdr.p_memsz = 0x1000;
      std::memcpy(file.data() + sizeof ehdr + index * sizeof phdr, &phdr, sizeof phdr);
    }
    std::memcpy(file.data() + 0x1000, image.data(), image.size());
    return file;
  }
};

void check_refused(const std::vector<std::byte>& file, const char* reason) {
  CAPTURE(reason);
  const auto image = vmm::parse_image(file, "sample");
  REQUIRE_FALSE(image.has_value());
  CHECK(image.error().error_class == vmm::ErrorClass::user);
  CHECK(image.error().message.starts_with("sample: "));
  CHECK(image.error().message.find(reason) != std::string::npos);
  CHECK(image.error().message.find('\n') == std::string::npos);
}

} // namespace

TEST_CASE("image: flat and ELF give the same bytes") {
  const Sample sample;
  const auto flat = vmm::parse_image(sample.flat(), "sample");
  const auto elf = vmm::parse_image(sample.elf(), "sample");
  REQUIRE(flat.has_value());
  REQUIRE(elf.has_value());
  CHECK(flat->bytes == elf->bytes);
  CHECK(flat->bytes.size() == 0x2000);
  CHECK(elf->header.entry_gpa == sample.header.entry_gpa);
}

TEST_CASE("image: every truncation is refused") {
  const std::vector<std::byte> flat = Sample().flat();
  for (std::size_t length = 0; length < flat.size(); length += length < 400 ? 1 : 97) {
    const auto image = vmm::parse_image(std::span(flat).first(length), "cut");
    CHECK_FALSE(image.has_value());
  }
  const std::vector<std::byte> elf = Sample().elf();
  for (std::size_t length = 0; length < elf.size(); length += length < 400 ? 1 : 97) {
    CHECK_FALSE(vmm::parse_image(std::span(elf).first(length), "cut").has_value());
  }
}

TEST_CASE("image: bytes behind the promised length are ignored") {
  std::vector<std::byte> flat = Sample().flat();
  flat.resize(flat.size() + 5);
  const auto image = vmm::parse_image(flat, "sample");
  REQUIRE(image.has_value());
  CHECK(image->bytes.size() == 0x2000);
}

TEST_CASE("image: impossible headers are refused with the reason") {
  struct Case {
    const char* reason;
    std::function<void(abi::ImageHeader&)> damage;
  };
  const std::uint64_t huge = ~std::uint64_t{0};
  const Case cases[] = {
      {"magic", [](auto& h) { h.magic ^= 1; }},
      {"speaks ABI 2.", [](auto& h) { h.version_major = 2; }},
      {"image header has", [](auto& h) { h.header_bytes = 8; }},
      {"load address", [](auto& h) { h.load_gpa = 0; }},
      {"not possible", [&](auto& h) { h.memory_bytes = huge; }},
      {"not possible", [&](auto& h) { h.file_bytes = h.memory_bytes + 1; }},
      {"not possible", [](auto& h) { h.file_bytes = 1; }},
      {"truncated", [](auto& h) { h.file_bytes = 0x2001; }},
      {"lie outside executable code", [](auto& h) { h.entry_gpa = EBB_LOW_IMAGE_GPA; }},
      {"lie outside executable code", [&](auto& h) { h.entry_gpa = huge; }},
      {"lie outside executable code",
       [](auto& h) { h.trap_stubs_gpa = EBB_LOW_IMAGE_GPA + 0x1fff; }},
      {"lie outside executable code", [&](auto& h) { h.trap_stubs_gpa = huge; }},
      {"unaligned, overlaps or leaves", [](auto& h) { h.segments[0].gpa += 8; }},
      {"unaligned, overlaps or leaves", [](auto& h) { h.segments[1].gpa = EBB_LOW_IMAGE_GPA; }},
      {"unaligned, overlaps or leaves", [](auto& h) { h.segments[2].bytes = 0x1001; }},
      {"unaligned, overlaps or leaves", [&](auto& h) { h.segments[2].bytes = huge; }},
      {"unaligned, overlaps or leaves", [](auto& h) { h.segments[0].gpa = 0; }},
      {"both writable and executable", [](auto& h) { h.segments[1].flags = 3; }},
      {"unknown", [](auto& h) { h.segments[2].flags = 4; }},
  };
  for (const Case& example : cases) {
    Sample sample;
    example.damage(sample.header);
    check_refused(sample.flat(), example.reason);
    // The ELF reader ends in the same checks.
    check_refused(sample.elf(), example.reason);
  }
}

TEST_CASE("image: a later version's header may be longer, none is shorter than that of 1.0") {
  Sample sample;
  sample.header.version_minor = 99;
  sample.header.header_bytes = abi::image_header_bytes_1_0 + 64;
  CHECK(vmm::parse_image(sample.flat(), "sample").has_value());
  sample.header.header_bytes = abi::image_header_bytes_1_0;
  CHECK(vmm::parse_image(sample.flat(), "sample").has_value());
  sample.header.header_bytes = abi::image_header_bytes_1_0 - 1;
  check_refused(sample.flat(), "image header has");
}

TEST_CASE("image: damaged ELF files are refused") {
  const auto with = [](auto damage) {
    std::vector<std::byte> file = Sample().elf();
    damage(*reinterpret_cast<Elf64_Ehdr*>(file.data()),
           *reinterpret_cast<Elf64_Phdr*>(file.data() + sizeof(Elf64_Ehdr)));
    return file;
  };
  check_refused(with([](auto& e, auto&) { e.e_machine = EM_386; }), "static x86-64");
  check_refused(with([](auto& e, auto&) { e.e_type = ET_DYN; }), "static x86-64");
  check_refused(with([](auto& e, auto&) { e.e_phoff = ~std::uint64_t{0}; }), "outside the file");
  check_refused(with([](auto& e, auto&) { e.e_phnum = 0xffff; }), "outside the file");
  check_refused(with([](auto&, auto& p) { p.p_offset = ~std::uint64_t{0}; }), "outside");
  check_refused(with([](auto&, auto& p) { p.p_filesz = ~std::uint64_t{0}; }), "outside");
  check_refused(with([](auto&, auto& p) { p.p_paddr = 0; }), "outside");
  check_refused(with([](auto&, auto& p) { p.p_paddr = ~std::uint64_t{0} - 0xfff; }), "outside");
  check_refused(with([](auto& e, auto&) { e.e_phnum = 0; }), "truncated");
}

TEST_CASE("image: files that are no files are refused") {
  CHECK(vmm::load_image("nosuch.bin").error().error_class == vmm::ErrorClass::user);
  CHECK(vmm::load_image("/").error().message.find("not a regular file") != std::string::npos);
}
