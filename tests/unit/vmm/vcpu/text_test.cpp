// SPDX-License-Identifier: MIT
// Text that comes from the guest, or describes its end.
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/printable.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/vcpu/crash_report.hpp"
#include "vmm/vcpu/guest_end.hpp"

TEST_CASE("printable: text passes, terminal control does not") {
  CHECK(vmm::printable("plain\ttext\n") == "plain\ttext\n");
  CHECK(vmm::printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(vmm::printable("\x1b[2J") == "?[2J");
  CHECK(vmm::printable("\r\b\x7f") == "???");
  CHECK(vmm::printable(std::string_view("\0x", 2)) == "?x");
  CHECK(vmm::printable("\xc2\x9b"
                       "2J") == "??2J"); // CSI as a C1 control
  CHECK(vmm::printable("\xc2\xa0") == "\xc2\xa0");
  CHECK(vmm::printable("x\xc2") == "x?"); // a second text could make it one
}

TEST_CASE("symbols: damaged files give an empty table") {
  CHECK(vmm::Symbols::parse({}).describe(0x1234) == "0x1234");
  std::vector<std::byte> file(4096);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_shnum = 0xffff;
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{64}, ~std::uint64_t{0}}) {
    header.e_shoff = offset;
    std::memcpy(file.data(), &header, sizeof header);
    CHECK(vmm::Symbols::parse(file).describe(0x1234) == "0x1234");
  }
}

TEST_CASE("symbols: names by address, demangled") {
  // Header, one symbol table, one string table.
  std::vector<std::byte> file(4096);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_shoff = 0x100;
  header.e_shnum = 2;
  Elf64_Shdr sections[2]{};
  sections[0].sh_type = SHT_SYMTAB;
  sections[0].sh_link = 1;
  sections[0].sh_offset = 0x200;
  sections[0].sh_size = 2 * sizeof(Elf64_Sym);
  sections[1].sh_type = SHT_STRTAB;
  sections[1].sh_offset = 0x300;
  const char strings[] = "\0_ZN2mm5BuddyC1Ev\0plain";
  sections[1].sh_size = sizeof strings;
  Elf64_Sym symbols[2]{};
  symbols[0] = {18, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x5000, 0x10};
  symbols[1] = {1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x4000, 0x20};
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(file.data() + 0x100, sections, sizeof sections);
  std::memcpy(file.data() + 0x200, symbols, sizeof symbols);
  std::memcpy(file.data() + 0x300, strings, sizeof strings);
  const vmm::Symbols table = vmm::Symbols::parse(file);
  CHECK(table.describe(0x4000) == "0x4000 mm::Buddy::Buddy()+0x0");
  CHECK(table.describe(0x401f) == "0x401f mm::Buddy::Buddy()+0x1f");
  CHECK(table.describe(0x4020) == "0x4020");
  CHECK(table.describe(0x3fff) == "0x3fff");
  CHECK(table.describe(0x500f) == "0x500f plain+0xf");
  CHECK(table.function_at(0x401f) == "mm::Buddy::Buddy()");
  CHECK(table.function_at(0x4020).empty());

  // By offsets in the file, where a segment has the address; the dynamic table of a stripped file.
  header.e_phoff = 0x80;
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_offset = 0x400;
  segment.p_vaddr = 0x4000;
  segment.p_filesz = 0x100;
  sections[0].sh_type = SHT_DYNSYM;
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(file.data() + 0x80, &segment, sizeof segment);
  std::memcpy(file.data() + 0x100, sections, sizeof sections);
  const auto read = [&file](std::uint64_t offset, std::span<std::byte> to) {
    std::memcpy(to.data(), file.data() + offset, to.size());
    return true;
  };
  const auto by_offset = vmm::Symbols::read(read, file.size(), vmm::AddressesOf::file);
  CHECK(by_offset.function_at(0x41f) == "mm::Buddy::Buddy()");
  CHECK(by_offset.function_at(0x420).empty());
  CHECK(by_offset.function_at(0x5000).empty()); // of no segment
  CHECK(vmm::Symbols::read([](std::uint64_t, std::span<std::byte>) { return false; }, file.size(),
                           vmm::AddressesOf::file)
            .empty());
  // What the name of such a file would become is bounded.
  const auto named = [&](const std::string& name) {
    std::vector<std::byte> changed(0x20000);
    std::ranges::copy(file, changed.begin());
    std::memcpy(changed.data() + 0x1000, name.data(), name.size());
    Elf64_Shdr moved[2]{sections[0], sections[1]};
    moved[1].sh_offset = 0x1000;
    moved[1].sh_size = 0x1f000;
    std::memcpy(changed.data() + 0x100, moved, sizeof moved);
    Elf64_Sym first[2]{symbols[0], symbols[1]};
    first[1].st_name = 0;
    std::memcpy(changed.data() + 0x200, first, sizeof first);
    return vmm::Symbols::read(
               [&changed](std::uint64_t offset, std::span<std::byte> to) {
                 std::memcpy(to.data(), changed.data() + offset, to.size());
                 return true;
               },
               changed.size(), vmm::AddressesOf::file)
        .function_at(0x400);
  };
  CHECK(named("_Z3addii") == "add(int, int)");
  std::string doubling = "_Z1fI1A";
  for (int level = 0; level < 40; ++level) {
    doubling += "St4pairIS_S_E";
  }
  CHECK(named(doubling).starts_with("_Z1fI1A"));
  CHECK(named("_Z" + std::string(100'000, 'P')).size() == vmm::Symbols::most_name_bytes);
  CHECK(named(std::string(100'000, 'x')).size() == vmm::Symbols::most_name_bytes);
  // A table that would take more than there may be is not read.
  sections[0].sh_size = sections[1].sh_size = 2 * vmm::Symbols::most_bytes;
  std::memcpy(file.data() + 0x100, sections, sizeof sections);
  const auto huge = vmm::Symbols::read(
      [&read](std::uint64_t offset, std::span<std::byte> to) {
        return to.size() <= vmm::Symbols::most_bytes && offset < 0x200 && read(offset, to);
      },
      ~std::uint64_t{0}, vmm::AddressesOf::memory);
  CHECK(huge.empty());
  sections[0].sh_size = 2 * sizeof(Elf64_Sym);
  sections[1].sh_size = sizeof strings;
  std::memcpy(file.data() + 0x100, sections, sizeof sections);

  // A name outside the strings is left out, not read.
  symbols[0].st_name = 0x7fffffff;
  std::memcpy(file.data() + 0x200, symbols, sizeof symbols);
  CHECK(vmm::Symbols::parse(file).describe(0x500f) == "0x500f");
}

TEST_CASE("panic: a record of a hostile guest is printed within its bounds") {
  abi::PanicRecord record;
  record.vector = abi::panic_by_software;
  record.frame_count = ~std::uint64_t{0};
  std::memset(record.message, 'A', sizeof record.message); // no end
  record.message[0] = '\x1b';
  const std::string text = vmm::describe_panic(record, {});
  CHECK(text.starts_with("?AAA"));
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(std::ranges::count(text, '\n') == static_cast<long>(abi::panic_frames));
}

TEST_CASE("panic: a page fault names address and code") {
  abi::PanicRecord record;
  record.vector = 14;
  record.error_code = 6;
  record.fault_address = 0xdead000;
  record.rip = 0x401000;
  std::strcpy(record.message, "page fault");
  CHECK(vmm::describe_panic(record, {}) ==
        "page fault (vector 14, error code 0x6, address 0xdead000)\n  at 0x401000 rsp 0x0");
}

TEST_CASE("exits: unknown ones are given by number") {
  kvm_run run{};
  run.exit_reason = 12345;
  CHECK(vmm::describe_exit(run) == "unknown exit reason 12345");
  run.exit_reason = KVM_EXIT_MMIO;
  run.mmio.phys_addr = 0xfee00000;
  run.mmio.len = 4;
  run.mmio.is_write = 1;
  CHECK(vmm::describe_exit(run) ==
        "access to unmapped guest-physical address 0xfee00000, 4 byte write");
  run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run.internal.suberror = 1;
  run.internal.ndata = 0xffffffff; // more than there is room for
  CHECK(vmm::describe_exit(run).find("cannot emulate") != std::string::npos);
}

TEST_CASE("guest end: the first ending wins and gives the process's status") {
  auto end = vmm::GuestEnd::create();
  REQUIRE(end.has_value());
  CHECK_FALSE((*end)->ended());
  (*end)->end({vmm::EndKind::exited, 7, {}});
  (*end)->end({vmm::EndKind::crashed, 0, "late"});
  CHECK((*end)->ended());
  CHECK((*end)->ending().process_status() == 7);
  CHECK(vmm::GuestEnding{vmm::EndKind::panicked, 0, {}}.process_status() == 3);
  CHECK(vmm::GuestEnding{vmm::EndKind::crashed, 0, {}}.process_status() == 3);
  CHECK(vmm::GuestEnding{vmm::EndKind::host_failed, 0, {}}.process_status() == 4);
  CHECK(vmm::GuestEnding{vmm::EndKind::interrupted, 2, {}}.process_status() == 130);
}
