// SPDX-License-Identifier: MIT
// Any bytes as a program, its interpreter and its dynamic linker: refused as by execve, or loaded
// as it says, with a stack that a program can begin with.
#include <elf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/linux/hosted_process.hpp"

namespace {

using namespace guest::linux;
using test_support::HostedMemory;
using test_support::HostedProcess;

constexpr std::uint64_t page = abi::page_bytes;

template <typename T> void put(std::string& to, std::size_t at, const T& what) {
  to.resize(std::max(to.size(), at + sizeof what));
  std::memcpy(to.data() + at, &what, sizeof what);
}

// An ELF file that mostly makes sense; then some of its words are changed.
std::string elf_from(fuzz::Bytes& bytes, bool with_linker) {
  std::string file;
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_type = bytes.below(4) != 0 ? ET_DYN : ET_EXEC;
  head.e_machine = EM_X86_64;
  head.e_phoff = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_entry = bytes.below(0x4000);
  const std::uint32_t count = 1 + bytes.below(6);
  std::uint64_t address =
      head.e_type == ET_EXEC ? HostedMemory::ram_start + bytes.below(64) * page : 0;
  for (std::uint32_t index = 0; index < count; ++index) {
    const std::uint64_t in_page = bytes.below(4) == 0 ? bytes.below(page) : 0;
    const std::uint64_t offset = bytes.below(4) * page + in_page;
    address = (address & ~(page - 1)) + in_page + (bytes.below(3) == 0 ? 0 : page);
    const std::uint64_t in_file = bytes.below(2 * page);
    Elf64_Phdr header{};
    header.p_type = PT_LOAD;
    header.p_flags = bytes.below(8);
    header.p_offset = offset;
    header.p_vaddr = address;
    header.p_filesz = in_file;
    header.p_memsz = in_file + (bytes.below(2) == 0 ? 0 : bytes.below(3 * page));
    if (with_linker && index == 0) {
      header.p_type = PT_INTERP;
      header.p_offset = 3000;
      header.p_filesz = 4;
    }
    address += header.p_type == PT_LOAD ? header.p_memsz : 0;
    put(file, sizeof head + index * sizeof header, header);
  }
  head.e_phnum = static_cast<Elf64_Half>(count);
  put(file, 0, head);
  put(file, 3000, std::array<char, 4>{'/', 'l', 'd', '\0'});
  const std::size_t used = file.size();
  file.resize(6 * page);
  for (std::size_t at = used; at < file.size(); ++at) {
    file[at] = static_cast<char>(at * 7);
  }
  for (std::uint32_t changes = bytes.below(4); changes != 0; --changes) {
    const std::size_t at =
        bytes.below(static_cast<std::uint32_t>(sizeof head + count * sizeof(Elf64_Phdr)) / 4) * 4;
    put(file, at, bytes.below(2) == 0 ? bytes.take<std::uint32_t>() : bytes.below(0x2000));
  }
  if (bytes.below(6) == 0) {
    file.resize(bytes.below(static_cast<std::uint32_t>(file.size())));
  }
  return file;
}

std::string raw_from(fuzz::Bytes& bytes) {
  std::string file(bytes.below(600), '\0');
  std::ranges::generate(file, [&] { return static_cast<char>(bytes.take<std::uint8_t>()); });
  return file;
}

std::string file_from(fuzz::Bytes& bytes) {
  switch (bytes.below(8)) {
  case 0:
    return raw_from(bytes);
  case 1:
    return "#!" + raw_from(bytes);
  case 2:
    return "#!/script\n";
  case 3:
    return "#! /program some thing\n";
  default:
    return elf_from(bytes, bytes.below(2) == 0);
  }
}

// Whatever the image says, the program can read it from there.
void check_segments(HostedProcess& process, const std::string& file, std::uint64_t base) {
  const auto head = std::as_bytes(std::span(file)).first(64);
  const auto table = ElfImage::header_table(head);
  const auto image =
      ElfImage::parse(head, std::as_bytes(std::span(file)).subspan(table->offset, table->bytes));
  for (const ElfSegment& segment : image->segments()) {
    if ((segment.protection & PROT_READ) == 0) {
      continue;
    }
    const std::uint64_t at = base + segment.address;
    fuzz::require(process.process->memory().allows(at, segment.memory_bytes, segment.protection));
    const auto* const content = reinterpret_cast<const char*>(at);
    const std::uint64_t offset = std::min<std::uint64_t>(segment.file_offset, file.size());
    const std::uint64_t there = std::min(segment.file_bytes, file.size() - offset);
    fuzz::require(std::memcmp(content, file.data() + offset, there) == 0);
    if (there != segment.file_bytes) {
      continue; // behind the file's end there is nothing to read
    }
    const std::uint64_t zero_bytes = std::min(segment.memory_bytes - segment.file_bytes, 4 * page);
    fuzz::require(std::all_of(content + segment.file_bytes,
                              content + segment.file_bytes + zero_bytes,
                              [](char byte) { return byte == 0; }));
  }
}

void check_stack(HostedProcess& process, std::uint64_t stack) {
  const AddressSpace& memory = process.process->memory();
  // At least the count, a name, two ends and the pairs of the auxiliary vector.
  constexpr std::uint64_t least_bytes = 256;
  fuzz::require(stack % 16 == 0 && memory.allows(stack, least_bytes, PROT_READ | PROT_WRITE));
  const auto* word = reinterpret_cast<const std::uint64_t*>(stack);
  std::uint64_t count = *word++;
  fuzz::require(count >= 1 && count < 40);
  for (; count != 0; --count) {
    fuzz::require(memory.allows(*word++, 1, PROT_READ));
  }
  fuzz::require(*word++ == 0 && memory.allows(*word++, 1, PROT_READ) && *word++ == 0);
  for (unsigned entry = 0; *word != AT_NULL; ++entry, word += 2) {
    fuzz::require(entry < 32);
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  HostedProcess process({"/program", "an argument"});
  const std::string program = file_from(bytes);
  process.files.content = {
      {"/program", program}, {"/script", file_from(bytes)}, {"/ld", file_from(bytes)}};
  const auto entry = process.load();
  if (!entry) {
    constexpr std::array known{EFAULT, ENOEXEC, ENOENT, EACCES, ENOMEM,       ELIBBAD, ELOOP,
                               E2BIG,  EEXIST,  EIO,    EINVAL, ENAMETOOLONG, ENOTDIR};
    fuzz::require(std::ranges::find(known, entry.error()) != known.end());
    return 0;
  }
  check_stack(process, entry->stack);
  // Of one that nobody else runs, the beginning is where its entry says.
  const std::string_view loaded = process.process->loaded_path();
  const std::string& last = process.files.content.at(std::string(loaded));
  Elf64_Ehdr head{};
  std::memcpy(&head, last.data(), sizeof head);
  check_segments(process, last, entry->instruction - head.e_entry);
  return 0;
}
