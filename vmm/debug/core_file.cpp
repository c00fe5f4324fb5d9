// SPDX-License-Identifier: MIT
#include "vmm/debug/core_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

#include "shared/hypercall.hpp"
#include "shared/layout.h"
#include "vmm/debug/debug_registers.hpp"
#include "vmm/io/output_place.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t block_bytes = 512 * abi::page_bytes;
// Of an entry of /proc/self/pagemap: in memory, or swapped out.
constexpr std::uint64_t pagemap_there = std::uint64_t{3} << 62;

template <typename T> void append_object(std::vector<std::byte>& to, const T& object) {
  const auto bytes = std::as_bytes(std::span(&object, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void pad(std::vector<std::byte>& to, std::size_t alignment) {
  to.resize(abi::align_up(to.size(), alignment));
}

template <typename T>
void append_note(std::vector<std::byte>& to, std::uint32_t type, const T& content) {
  constexpr std::array<char, 8> name{"CORE"};
  append_object(to, Elf64_Nhdr{.n_namesz = 5, .n_descsz = sizeof content, .n_type = type});
  append_object(to, name); // with its padding
  append_object(to, content);
  pad(to, 4);
}

user_regs_struct to_user(const DebugRegisters& from) {
  enum General : std::size_t {
    ax,
    bx,
    cx,
    dx,
    si,
    di,
    bp,
    sp,
    r8,
    r9,
    r10,
    r11,
    r12,
    r13,
    r14,
    r15
  };
  user_regs_struct to{};
  to.rax = from.general[ax];
  to.rbx = from.general[bx];
  to.rcx = from.general[cx];
  to.rdx = from.general[dx];
  to.rsi = from.general[si];
  to.rdi = from.general[di];
  to.rbp = from.general[bp];
  to.rsp = from.general[sp];
  to.r8 = from.general[r8];
  to.r9 = from.general[r9];
  to.r10 = from.general[r10];
  to.r11 = from.general[r11];
  to.r12 = from.general[r12];
  to.r13 = from.general[r13];
  to.r14 = from.general[r14];
  to.r15 = from.general[r15];
  to.orig_rax = ~0ULL; // in no system call
  to.rip = from.rip;
  to.eflags = from.eflags;
  to.cs = from.segments[0];
  to.ss = from.segments[1];
  to.ds = from.segments[2];
  to.es = from.segments[3];
  to.fs = from.segments[4];
  to.gs = from.segments[5];
  to.fs_base = from.fs_base;
  to.gs_base = from.gs_base;
  return to;
}

user_fpregs_struct to_user_fpu(const DebugRegisters& from) {
  user_fpregs_struct to{};
  to.cwd = static_cast<std::uint16_t>(from.x87_control[0]);
  to.swd = static_cast<std::uint16_t>(from.x87_control[1]);
  for (unsigned index = 0; index < 8; ++index) { // two bits a register there, one here
    const bool used = (from.x87_control[2] >> 2 * index & 3U) != 3;
    to.ftw = static_cast<std::uint16_t>(to.ftw | (used ? 1U << index : 0U));
  }
  to.fop = static_cast<std::uint16_t>(from.x87_control[7]);
  to.mxcsr = from.mxcsr;
  for (std::size_t index = 0; index < from.x87.size(); ++index) {
    std::memcpy(&to.st_space[index * 4], from.x87[index].data(), from.x87[index].size());
  }
  std::memcpy(to.xmm_space, from.xmm.data(), sizeof to.xmm_space);
  return to;
}

std::vector<std::byte> notes_of(const CoreFacts& facts) {
  std::vector<std::byte> notes;
  const auto thread_id = [](const CoreThread& thread) { return static_cast<int>(thread.vcpu) + 1; };
  bool first = true;
  for (const CoreThread& thread : facts.threads) {
    elf_prstatus status{};
    status.pr_info.si_signo = facts.signal;
    status.pr_cursig = static_cast<short>(facts.signal);
    status.pr_pid = thread_id(thread);
    const user_regs_struct registers = to_user(thread.registers);
    static_assert(sizeof registers == sizeof status.pr_reg);
    std::memcpy(&status.pr_reg, &registers, sizeof registers);
    status.pr_fpvalid = 1;
    append_note(notes, NT_PRSTATUS, status);
    if (std::exchange(first, false)) {
      elf_prpsinfo info{};
      info.pr_pid = thread_id(thread);
      facts.program.copy(info.pr_psargs, sizeof info.pr_psargs - 1);
      // gdb compares that with the file that it has the symbols of, beside the image.
      const std::string name = std::filesystem::path(facts.program).stem().string() + ".elf";
      name.copy(info.pr_fname, sizeof info.pr_fname - 1);
      append_note(notes, NT_PRPSINFO, info);
    }
    append_note(notes, NT_FPREGSET, to_user_fpu(thread.registers));
  }
  return notes;
}

// What a process would have died of.
int signal_of(std::uint64_t vector) {
  constexpr std::uint64_t divide_error = 0;
  constexpr std::uint64_t invalid_opcode = 6;
  constexpr std::uint64_t x87_error = 16;
  constexpr std::uint64_t simd_error = 19;
  switch (vector) {
  case abi::panic_by_software:
    return SIGABRT;
  case invalid_opcode:
    return SIGILL;
  case divide_error:
  case x87_error:
  case simd_error:
    return SIGFPE;
  default:
    return SIGSEGV;
  }
}

// The record of a vCPU that panicked; its content is the guest's.
std::optional<abi::PanicRecord> panic_of(const GuestMemory& memory, unsigned vcpu) {
  const auto* const page =
      memory.object_at<abi::VcpuPage>({EBB_VCPU_PAGE_GPA + std::uint64_t{vcpu} * abi::page_bytes});
  if (page == nullptr || page->number != static_cast<std::uint64_t>(abi::Hypercall::panic)) {
    return std::nullopt;
  }
  abi::PanicRecord record;
  static_assert(sizeof record <= sizeof page->payload);
  std::memcpy(&record, page->payload, sizeof record);
  return record;
}

// Where it panicked, and not where it told of it.
void go_back(const abi::PanicRecord& record, DebugRegisters& registers) {
  const abi::PanicRegisters& at = record.registers;
  if (record.register_bytes != sizeof at) {
    return; // an older guest
  }
  registers.general = {at.rax, at.rbx, at.rcx, at.rdx, at.rsi, at.rdi, at.rbp, at.rsp,
                       at.r8,  at.r9,  at.r10, at.r11, at.r12, at.r13, at.r14, at.r15};
  registers.rip = at.rip;
  registers.eflags = static_cast<std::uint32_t>(at.rflags);
  registers.segments[0] = static_cast<std::uint32_t>(at.cs);
  registers.segments[1] = static_cast<std::uint32_t>(at.ss);
}

bool is_zero(std::span<const std::byte> page) {
  return page[0] == std::byte{} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

} // namespace

std::vector<std::byte> core_head(const CoreFacts& facts, const MappedMemory& mapped) {
  const std::vector<std::byte> notes = notes_of(facts);
  std::vector<std::byte> head;
  Elf64_Ehdr file{};
  std::memcpy(file.e_ident, ELFMAG, SELFMAG);
  file.e_ident[EI_CLASS] = ELFCLASS64;
  file.e_ident[EI_DATA] = ELFDATA2LSB;
  file.e_ident[EI_VERSION] = EV_CURRENT;
  file.e_type = ET_CORE;
  file.e_machine = EM_X86_64;
  file.e_version = EV_CURRENT;
  file.e_phoff = sizeof file;
  file.e_ehsize = sizeof file;
  file.e_phentsize = sizeof(Elf64_Phdr);
  file.e_phnum = static_cast<std::uint16_t>(mapped.areas.size() + 1);
  append_object(head, file);
  const std::uint64_t notes_at = sizeof file + file.e_phnum * sizeof(Elf64_Phdr);
  append_object(head, Elf64_Phdr{.p_type = PT_NOTE,
                                 .p_flags = PF_R,
                                 .p_offset = notes_at,
                                 .p_vaddr = 0,
                                 .p_paddr = 0,
                                 .p_filesz = notes.size(),
                                 .p_memsz = 0,
                                 .p_align = 4});
  std::uint64_t offset = abi::align_up(notes_at + notes.size(), abi::page_bytes);
  for (const MappedArea& area : mapped.areas) {
    append_object(head, Elf64_Phdr{.p_type = PT_LOAD,
                                   .p_flags = PF_R | (area.writable ? PF_W : 0U) |
                                              (area.executable ? PF_X : 0U),
                                   .p_offset = offset,
                                   .p_vaddr = area.address,
                                   .p_paddr = 0,
                                   .p_filesz = area.bytes,
                                   .p_memsz = area.bytes,
                                   .p_align = abi::page_bytes});
    offset += area.bytes;
  }
  head.insert(head.end(), notes.begin(), notes.end());
  pad(head, abi::page_bytes);
  return head;
}

CoreFacts core_facts(std::string program, const GuestMemory& memory, std::span<const Vcpu> vcpus,
                     std::optional<unsigned> crashed) {
  CoreFacts facts{std::move(program), SIGSEGV, {}};
  std::size_t first = 0;
  for (unsigned index = 0; index < vcpus.size(); ++index) {
    const Vcpu& vcpu = vcpus[index];
    const auto general = vcpu.registers();
    const auto system = vcpu.system_registers();
    if (!general || !system) {
      continue;
    }
    CoreThread thread{index,
                      to_debug({*general, *system, vcpu.fpu_registers().value_or(kvm_fpu{})})};
    const auto panic = crashed ? std::nullopt : panic_of(memory, index);
    if (panic) {
      go_back(*panic, thread.registers);
      facts.signal = signal_of(panic->vector);
    }
    if (panic || crashed == index) {
      first = facts.threads.size();
    }
    facts.threads.push_back(thread);
  }
  if (!facts.threads.empty()) {
    std::swap(facts.threads[0], facts.threads[first]);
  }
  return facts;
}

Result<CoreFile> CoreFile::open(const std::string& path) {
  EBB_TRY_ASSIGN(place, find_output_place("--core", path));
  struct stat status {};
  if (place.descriptor ||
      (::stat(place.path().c_str(), &status) == 0 && !S_ISREG(status.st_mode))) {
    return user_error("--core {}: not a regular file; memory is written with holes", path);
  }
  EBB_TRY_ASSIGN(file, NewFile::create("--core", path, place));
  return CoreFile(path, std::move(file),
                  UniqueFd(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)));
}

Result<void> CoreFile::put(std::span<const std::byte> bytes, std::uint64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(file_.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put <= 0 && errno != EINTR) {
      return environment_error("--core {}: cannot be written: {}", path_,
                               errno_text(put == 0 ? ENOSPC : errno));
    }
    const auto done = static_cast<std::size_t>(std::max<ssize_t>(put, 0));
    bytes = bytes.subspan(done);
    offset += done;
  }
  return {};
}

CoreFile::Pages CoreFile::present(std::span<const std::byte> block) const {
  Pages pages;
  std::array<std::uint64_t, std::tuple_size_v<Pages>> entries{};
  // Justified: pagemap goes by addresses.
  const auto first = reinterpret_cast<std::uintptr_t>(block.data()) / abi::page_bytes;
  const std::size_t wanted = block.size() / abi::page_bytes * sizeof entries[0];
  const ssize_t got = pagemap_.valid() ? ::pread(pagemap_.get(), entries.data(), wanted,
                                                 static_cast<off_t>(first * sizeof entries[0]))
                                       : -1;
  if (got != static_cast<ssize_t>(wanted)) {
    pages.fill(true);
    return pages;
  }
  std::ranges::transform(entries, pages.begin(),
                         [](std::uint64_t entry) { return (entry & pagemap_there) != 0; });
  return pages;
}

// Pages that were swapped out are data, too, which page tables do not know of.
CoreFile::Pages CoreFile::present_in_file(int fd, abi::Gpa gpa, std::uint64_t bytes) {
  Pages pages{};
  const auto end = static_cast<off_t>(gpa.value + bytes);
  for (auto at = static_cast<off_t>(gpa.value); at < end;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
      pages.fill(true);
      return pages;
    }
    if (data < 0 || data >= end) {
      break;
    }
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    const off_t until = hole < 0 || hole > end ? end : hole;
    constexpr auto page_bytes = static_cast<off_t>(abi::page_bytes);
    const auto start = static_cast<off_t>(gpa.value);
    for (off_t page = (data - start) / page_bytes;
         page < (until - start + page_bytes - 1) / page_bytes; ++page) {
      pages.at(static_cast<std::size_t>(page)) = true;
    }
    at = until;
  }
  return pages;
}

CoreFile::Pages CoreFile::present(const GuestMemory& memory, abi::Gpa gpa,
                                  std::span<const std::byte> block) const {
  if (memory.at(gpa, block.size()).empty()) { // a page trace: the host's file
    Pages all;
    all.fill(true);
    return all;
  }
  return memory.backing() == Backing::memfd && !memory.in_own_area(gpa)
             ? present_in_file(memory.fd(), gpa, block.size())
             : present(block);
}

// What is there and not zero.
Result<std::uint64_t> CoreFile::put_pages(std::span<const std::byte> block, const Pages& present,
                                          std::uint64_t offset) const {
  const std::size_t pages = block.size() / abi::page_bytes;
  const auto has_content = [&](std::size_t page) {
    return present.at(page) && !is_zero(block.subspan(page * abi::page_bytes, abi::page_bytes));
  };
  std::uint64_t written = 0;
  for (std::size_t page = 0; page < pages; ++page) {
    std::size_t end = page;
    while (end < pages && has_content(end)) {
      ++end;
    }
    const std::uint64_t at = page * abi::page_bytes;
    EBB_TRY(put(block.subspan(at, (end - page) * abi::page_bytes), offset + at));
    written += (end - page) * abi::page_bytes;
    page = end; // which has none
  }
  return written;
}

Result<std::uint64_t> CoreFile::write(const CoreFacts& facts, const GuestMemory& memory,
                                      const ReadOnlyArea& input) {
  constexpr std::size_t cr3 = 2; // of DebugRegisters::control
  const MappedMemory mapped =
      facts.threads.empty()
          ? MappedMemory{}
          : mapped_memory(memory, input, facts.threads[0].registers.control.at(cr3));
  const std::vector<std::byte> head = core_head(facts, mapped);
  EBB_TRY(put(head, 0));
  std::uint64_t offset = head.size();
  std::uint64_t written = 0;
  for (const MappedArea& area : mapped.areas) {
    for (const MappedPiece& piece : area.pieces) {
      for (std::uint64_t done = 0; done < piece.bytes;) {
        const std::uint64_t bytes = std::min(piece.bytes - done, block_bytes);
        const abi::Gpa gpa{piece.gpa.value + done};
        const auto block = host_view(memory, input, gpa, bytes);
        EBB_TRY_ASSIGN(put, put_pages(block, present(memory, gpa, block),
                                      offset + (piece.address - area.address) + done));
        written += put;
        done += bytes;
      }
    }
    offset += area.bytes;
  }
  if (::ftruncate(file_.fd(), static_cast<off_t>(offset)) != 0) {
    return environment_error("--core {}: cannot be written: {}", path_, errno_text(errno));
  }
  if (const int error = file_.publish(NewFile::Occupied::replace); error != 0) {
    return environment_error("--core {}: cannot be written: {}", path_, errno_text(error));
  }
  return written;
}

} // namespace vmm
