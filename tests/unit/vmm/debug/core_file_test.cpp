// SPDX-License-Identifier: MIT
// Core files of guests that are made by hand: what is in them, what is not, and what gdb says.
#include "vmm/debug/core_file.hpp"

#include <elf.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "shared/image_header.hpp"
#include "shared/layout.h"
#include "shared/page_table_entry.hpp"
#include "tests/support/temporary_folder.hpp"
#include "vmm/boot/boot_state.hpp"

using namespace vmm;
using test_support::content;
using test_support::TemporaryFolder;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{64} << 20;
constexpr std::uint64_t text_gpa = EBB_LOW_IMAGE_GPA;

// A guest's memory as it is before the first instruction.
struct Guest {
  explicit Guest(Backing backing = Backing::small_pages)
      : memory(std::move(*GuestMemory::create(ram_bytes, backing))) {
    abi::ImageHeader image;
    image.load_gpa = EBB_LOW_IMAGE_GPA;
    image.memory_bytes = 2 * abi::page_bytes;
    image.trap_stubs_gpa = EBB_LOW_IMAGE_GPA;
    image.segments[0] = {text_gpa, abi::page_bytes, abi::segment_execute, 0};
    image.segments[1] = {text_gpa + abi::page_bytes, abi::page_bytes, abi::segment_write, 0};
    const BootPlan plan = BootPlan::make(image, {ram_bytes}, {}, 1, abi::huge_page_bytes);
    write_boot_tables(memory.at({0}, plan.free_start.value), plan, image);
    bytes.resize(abi::huge_page_bytes, std::byte{0x5a});
    input = {plan.input_gpa, bytes};
  }
  [[nodiscard]] MappedMemory mapped() const { return mapped_memory(memory, input, cr3); }
  [[nodiscard]] CoreFacts facts() const {
    CoreFacts facts{
        "guest.bin", SIGABRT, {{.vcpu = 1, .registers = {}}, {.vcpu = 0, .registers = {}}}};
    facts.threads[0].registers.rip = 0x400123;
    facts.threads[0].registers.general[7] = 0x7000;
    facts.threads[0].registers.control[2] = cr3;
    facts.threads[1].registers.rip = 0x400456;
    return facts;
  }
  std::uint64_t& entry(std::uint64_t gpa) { return *memory.object_at<std::uint64_t>({gpa}); }

  GuestMemory memory;
  std::vector<std::byte> bytes;
  ReadOnlyArea input;
  std::uint64_t cr3 = EBB_PAGE_TABLE_GPA;
};

template <typename T> T object_at(const std::string& text, std::uint64_t offset) {
  T object{};
  REQUIRE(offset + sizeof object <= text.size());
  std::memcpy(&object, text.data() + offset, sizeof object);
  return object;
}

std::vector<Elf64_Phdr> headers_of(const std::string& core) {
  const auto file = object_at<Elf64_Ehdr>(core, 0);
  CHECK(file.e_type == ET_CORE);
  CHECK(file.e_machine == EM_X86_64);
  std::vector<Elf64_Phdr> headers;
  for (unsigned index = 0; index < file.e_phnum; ++index) {
    headers.push_back(object_at<Elf64_Phdr>(core, file.e_phoff + index * sizeof(Elf64_Phdr)));
  }
  return headers;
}

// The byte at a guest-virtual address.
std::optional<char> byte_at(const std::string& core, std::uint64_t address) {
  for (const Elf64_Phdr& header : headers_of(core)) {
    if (header.p_type == PT_LOAD && address - header.p_vaddr < header.p_filesz) {
      return core.at(header.p_offset + (address - header.p_vaddr));
    }
  }
  return std::nullopt;
}

} // namespace

TEST_CASE("core file: memory at its addresses, with holes where there is nothing") {
  const TemporaryFolder dir;
  Guest guest;
  constexpr std::uint64_t used = std::uint64_t{40} << 20;
  *guest.memory.object_at<char>({used}) = 'x';
  *guest.memory.object_at<char>({text_gpa}) = 't';
  auto file = CoreFile::open(dir / "core");
  REQUIRE(file);
  CHECK(dir.entries() == 0);
  const auto written = file->write(guest.facts(), guest.memory, guest.input);
  REQUIRE(written);
  const std::string core = content(dir / "core");
  CHECK(byte_at(core, used) == 'x');
  CHECK(byte_at(core, text_gpa) == 't');
  CHECK(byte_at(core, used + abi::huge_page_bytes) == '\0');
  CHECK(byte_at(core, guest.input.start.value) == 0x5a);
  CHECK_FALSE(byte_at(core, 0)); // mapped for nobody
  CHECK_FALSE(byte_at(core, std::uint64_t{1} << 40));
  struct stat status {};
  REQUIRE(::stat((dir / "core").c_str(), &status) == 0);
  CHECK(static_cast<std::uint64_t>(status.st_size) > used);
  CHECK(*written < std::uint64_t{4} << 20);
  CHECK(static_cast<std::uint64_t>(status.st_blocks) * 512 < *written + (std::uint64_t{1} << 20));
}

TEST_CASE("core file: writing it makes nothing resident") {
  for (const Backing backing : {Backing::small_pages, Backing::memfd}) {
    const TemporaryFolder dir;
    const Guest guest(backing);
    const auto resident = [&] {
      std::uint64_t pages = 0;
      std::vector<unsigned char> there(ram_bytes / abi::page_bytes);
      REQUIRE(::mincore(guest.memory.base(), ram_bytes, there.data()) == 0);
      for (const unsigned char page : there) {
        pages += page & 1U;
      }
      return pages;
    };
    const std::uint64_t before = resident();
    auto file = CoreFile::open(dir / "core");
    REQUIRE(file);
    REQUIRE(file->write(guest.facts(), guest.memory, guest.input));
    CHECK(resident() == before);
  }
}

TEST_CASE("core file: threads with their registers, the first one first") {
  const Guest guest;
  const std::vector<std::byte> head = core_head(guest.facts(), guest.mapped());
  const std::string core(reinterpret_cast<const char*>(head.data()), head.size());
  const Elf64_Phdr notes = headers_of(core).at(0);
  REQUIRE(notes.p_type == PT_NOTE);
  std::vector<elf_prstatus> threads;
  unsigned others = 0;
  for (std::uint64_t at = notes.p_offset; at < notes.p_offset + notes.p_filesz;) {
    const auto note = object_at<Elf64_Nhdr>(core, at);
    CHECK(std::string(core.data() + at + sizeof note) == "CORE");
    if (note.n_type == NT_PRSTATUS) {
      threads.push_back(object_at<elf_prstatus>(core, at + sizeof note + 8));
    } else {
      ++others;
    }
    at += sizeof note + 8 + abi::align_up(note.n_descsz, std::uint64_t{4});
  }
  REQUIRE(threads.size() == 2);
  CHECK(others == 3); // what it was called, and two with floating point registers
  CHECK(threads[0].pr_pid == 2);
  CHECK(threads[0].pr_cursig == SIGABRT);
  constexpr std::size_t rip = 16;
  constexpr std::size_t rsp = 19;
  CHECK(threads[0].pr_reg[rip] == 0x400123);
  CHECK(threads[0].pr_reg[rsp] == 0x7000);
  CHECK(threads[1].pr_pid == 1);
  CHECK(threads[1].pr_reg[rip] == 0x400456);
}

TEST_CASE("core memory: rights, large pages and the upper half") {
  Guest guest;
  const MappedMemory before = guest.mapped();
  REQUIRE_FALSE(before.areas.empty());
  for (std::size_t index = 0; index + 1 < before.areas.size(); ++index) {
    CHECK(before.areas[index].address + before.areas[index].bytes <=
          before.areas[index + 1].address);
  }
  const auto text = std::ranges::find(before.areas, true, &MappedArea::executable);
  REQUIRE(text != before.areas.end());
  CHECK_FALSE(text->writable);
  // The same tables once more at the top.
  guest.entry(EBB_PAGE_TABLE_GPA + 511 * 8) = guest.entry(EBB_PAGE_TABLE_GPA);
  const MappedMemory after = guest.mapped();
  CHECK(after.areas.size() == 2 * before.areas.size());
  CHECK(after.areas.back().address >= 0xffffff8000000000);
  CHECK_FALSE(after.cut_short);
}

TEST_CASE("core memory: tables that make no sense are bounded, and lead nowhere else") {
  Guest guest;
  constexpr std::uint64_t table = std::uint64_t{32} << 20;
  constexpr std::uint64_t flags = abi::page_entry::present | abi::page_entry::writable;
  // Each entry of a table leads to itself: 2^36 pages of one.
  for (std::uint64_t index = 0; index < abi::page_entry::per_table; ++index) {
    guest.entry(table + index * 8) = table | flags;
  }
  const MappedMemory again = mapped_memory(guest.memory, {}, table);
  CHECK(again.cut_short);
  std::size_t pieces = 0;
  for (const MappedArea& area : again.areas) {
    pieces += area.pieces.size();
  }
  CHECK(pieces <= MappedMemory::most_pieces);
  // Tables and pages outside of memory; a page of which a part is there.
  for (std::uint64_t index = 0; index < abi::page_entry::per_table; ++index) {
    guest.entry(table + index * 8) = 0;
  }
  guest.entry(table) = (std::uint64_t{1} << 45) | flags;
  CHECK(mapped_memory(guest.memory, {}, table).areas.empty());
  CHECK(mapped_memory(guest.memory, {}, std::uint64_t{1} << 50).areas.empty());
  guest.entry(table) = (table + abi::page_bytes) | flags;
  guest.entry(table + abi::page_bytes) = flags | abi::page_entry::large; // 1 GiB from 0
  const MappedMemory part = mapped_memory(guest.memory, {}, table);
  REQUIRE(part.areas.size() == 1);
  CHECK(part.areas[0].bytes == ram_bytes);
}

TEST_CASE("core file: what it cannot go to is refused, and an old file stays until it is there") {
  const TemporaryFolder dir;
  for (const std::string& path : {std::string("/dev/null"), std::string("-"), std::string("/"),
                                  std::string("/nonexistent/c")}) {
    const auto file = CoreFile::open(path);
    REQUIRE_FALSE(file);
    CHECK(file.error().error_class == ErrorClass::user);
  }
  test_support::write_content(dir / "core", "old");
  const Guest guest;
  {
    auto unwritten = CoreFile::open(dir / "core");
    REQUIRE(unwritten);
  }
  CHECK(content(dir / "core") == "old");
  auto file = CoreFile::open(dir / "core");
  REQUIRE(file->write(guest.facts(), guest.memory, guest.input));
  CHECK(content(dir / "core")
            .starts_with("\x7f"
                         "ELF"));
  CHECK(dir.entries() == 1);
}
