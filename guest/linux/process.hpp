// SPDX-License-Identifier: MIT
// A Linux program and the kernel that it sees: loads it, then answers its system calls. One thread.
//
// A call is a row in the table of calls.cpp and a member function in the calls_*.cpp that it
// belongs to. What a program passes is checked there, once, before it is used: memory by
// AddressSpace, descriptors by OpenFiles. Pure but for the interfaces in file_port.hpp and
// frames.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "guest/linux/address_space.hpp"
#include "guest/linux/file_port.hpp"
#include "guest/linux/open_files.hpp"
#include "guest/linux/site_patcher.hpp"
#include "shared/program_start.hpp"

namespace guest::linux {

// Arguments of a system call, in order.
struct Call {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> args{};
};
// What a call returns: at least 0 (addresses included), or a negative error number.
using Answer = std::int64_t;

// A system call that there is, and how far it goes where that is not all the way.
struct SupportedCall {
  std::string_view name;
  std::string_view how;
};
[[nodiscard]] std::span<const SupportedCall> supported_calls();

// Pages of a program's address space for its code.
class ProgramCode final : public CodePages {
 public:
  explicit ProgramCode(AddressSpace& memory) : memory_(memory) {}
  [[nodiscard]] bool claim_page(std::uint64_t address) override;
  void release_page(std::uint64_t address) override;
  void write(std::uint64_t address, std::span<const std::uint8_t> code) override;

 private:
  AddressSpace& memory_;
};

class Process {
 public:
  // What starts the program; `strings` as shared/program_start.hpp says. All outlives the process.
  // `vdso`: a page to be mapped, or nothing.
  Process(abi::ProgramStart& start, std::string_view strings, Frames& frames, FilePort& files,
          Machine& machine, const SitePatcher::Enter& enter, std::span<const std::byte> vdso);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  struct Entry {
    std::uint64_t instruction = 0;
    std::uint64_t stack = 0;
  };
  // Loads the program, and its dynamic linker if it has one. `break_start` is where its break goes.
  // An error number as of execve.
  [[nodiscard]] Or<Entry> load(std::uint64_t break_start);

  [[nodiscard]] Answer answer(const Call& call);

  // After a call by a SYSCALL that ends at `behind`: where to return to, so that the next call from
  // there costs less.
  [[nodiscard]] std::uint64_t patch_site(std::uint64_t behind);
  // Where to go on after an illegal instruction that patching has put there; empty: the program's.
  [[nodiscard]] std::optional<std::uint64_t> resume_site(std::uint64_t address) const {
    return sites_.resume(address);
  }

  [[nodiscard]] std::string_view program_path() const { return program_path_; }
  [[nodiscard]] const AddressSpace& memory() const { return memory_; }

 private:
  friend struct CallTable;
  using Args = std::array<std::uint64_t, 6>;

  struct Loaded {
    std::uint64_t base = 0; // added to the file's addresses
    ElfImage image;
  };
  [[nodiscard]] Or<Loaded> load_image(std::string_view path, std::vector<char>* linker);
  [[nodiscard]] Or<Loaded> load_open(std::uint32_t file, std::vector<char>* linker);
  // Its address; 0 when there is none.
  [[nodiscard]] Or<std::uint64_t> map_vdso();
  [[nodiscard]] int load_segments(std::uint32_t file, const ElfImage& image, std::uint64_t base);

  // ---- memory of the program
  [[nodiscard]] bool may_read(std::uint64_t address, std::uint64_t bytes) const;
  [[nodiscard]] bool may_write(std::uint64_t address, std::uint64_t bytes) const;
  template <typename T> [[nodiscard]] bool fetch(std::uint64_t address, T& to) const;
  template <typename T> [[nodiscard]] bool store(std::uint64_t address, const T& from) const;
  // A string of the program's; EFAULT, ENAMETOOLONG.
  [[nodiscard]] Or<std::string_view> path_at(std::uint64_t address) const;

  // ---- calls, by the file that they are in
  // calls_memory.cpp
  Answer sys_mmap(const Args& args);
  Answer sys_munmap(const Args& args);
  Answer sys_mprotect(const Args& args);
  Answer sys_mremap(const Args& args);
  Answer sys_madvise(const Args& args);
  Answer sys_brk(const Args& args);
  // calls_files.cpp
  Answer sys_read(const Args& args);
  Answer sys_write(const Args& args);
  Answer sys_pread64(const Args& args);
  Answer sys_readv(const Args& args);
  Answer sys_writev(const Args& args);
  Answer sys_open(const Args& args);
  Answer sys_openat(const Args& args);
  Answer sys_close(const Args& args);
  Answer sys_lseek(const Args& args);
  Answer sys_getdents64(const Args& args);
  Answer sys_dup(const Args& args);
  Answer sys_dup2(const Args& args);
  Answer sys_dup3(const Args& args);
  Answer sys_fcntl(const Args& args);
  Answer sys_ioctl(const Args& args);
  Answer sys_poll(const Args& args);
  // calls_paths.cpp
  Answer sys_stat(const Args& args);
  Answer sys_lstat(const Args& args);
  Answer sys_fstat(const Args& args);
  Answer sys_newfstatat(const Args& args);
  Answer sys_statx(const Args& args);
  Answer sys_access(const Args& args);
  Answer sys_faccessat(const Args& args);
  Answer sys_readlink(const Args& args);
  Answer sys_readlinkat(const Args& args);
  Answer sys_no_attributes(const Args& args);
  Answer sys_getcwd(const Args& args);
  Answer sys_chdir(const Args& args);
  // calls_process.cpp
  Answer sys_exit_group(const Args& args);
  Answer sys_getpid(const Args& args);
  Answer sys_getppid(const Args& args);
  Answer sys_getuid(const Args& args);
  Answer sys_getgid(const Args& args);
  Answer sys_arch_prctl(const Args& args);
  Answer sys_uname(const Args& args);
  Answer sys_prlimit64(const Args& args);
  Answer sys_getrlimit(const Args& args);
  Answer sys_sysinfo(const Args& args);
  Answer sys_getrandom(const Args& args);
  Answer sys_rt_sigaction(const Args& args);
  Answer sys_rt_sigprocmask(const Args& args);
  Answer sys_sigaltstack(const Args& args);
  Answer sys_kill(const Args& args);
  Answer sys_tgkill(const Args& args);
  Answer sys_futex(const Args& args);
  Answer sys_sched_getaffinity(const Args& args);
  Answer sys_getrusage(const Args& args);
  Answer sys_umask(const Args& args);
  Answer sys_nothing(const Args& args);
  // calls_time.cpp
  Answer sys_clock_gettime(const Args& args);
  Answer sys_clock_getres(const Args& args);
  Answer sys_gettimeofday(const Args& args);
  Answer sys_time(const Args& args);
  Answer sys_times(const Args& args);
  Answer sys_nanosleep(const Args& args);
  Answer sys_clock_nanosleep(const Args& args);

  // ---- files
  // The path from the root that a call means with a directory's descriptor and a path.
  [[nodiscard]] Or<std::vector<char>> full_path(std::uint64_t directory,
                                                std::string_view path) const;
  [[nodiscard]] Answer open_path(std::uint64_t directory, std::uint64_t path, std::uint64_t flags);
  [[nodiscard]] Answer add_file(OpenFile* file, std::uint64_t flags);
  [[nodiscard]] Answer read_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes);
  [[nodiscard]] Answer read_at(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                               std::uint64_t offset);
  [[nodiscard]] Answer write_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes);
  // read_file or write_file, and what readv and writev do with it.
  using Move = Answer (Process::*)(OpenFile& file, std::uint64_t address, std::uint64_t bytes);
  [[nodiscard]] Answer move_vector(const Args& args, Move move);
  [[nodiscard]] Answer file_call(abi::FileOperation operation, std::uint32_t number,
                                 std::uint64_t offset, const void* buffer, std::uint64_t bytes);
  [[nodiscard]] Answer path_call(abi::FileOperation operation, std::string_view path,
                                 std::uint32_t flags, const void* buffer, std::uint64_t bytes);
  [[nodiscard]] Or<abi::FileStat> stat_of(std::uint64_t directory, std::uint64_t path,
                                          std::uint64_t flags);
  [[nodiscard]] Or<abi::FileStat> stat_of_file(const OpenFile& file);
  [[nodiscard]] Or<abi::FileStat> stat_of_path(std::string_view path, std::uint32_t flags);
  [[nodiscard]] Answer access_of(std::uint64_t directory, std::uint64_t path, std::uint64_t mode,
                                 std::uint64_t flags);
  [[nodiscard]] Answer link_text(std::uint64_t directory, std::uint64_t path, std::uint64_t to,
                                 std::uint64_t bytes);
  [[nodiscard]] Answer drop(std::uint64_t descriptor);

  [[noreturn]] void end(std::uint8_t status);
  [[noreturn]] void end_by_signal(std::uint64_t signal);
  [[nodiscard]] std::int64_t realtime_ns() {
    return start_.realtime_ns + static_cast<std::int64_t>(machine_.now_ns());
  }

  abi::ProgramStart& start_; // counts of calls go there
  FilePort& files_;
  Machine& machine_;
  AddressSpace memory_;
  ProgramCode code_;
  SitePatcher sites_;
  OpenFiles open_files_;
  std::string_view program_path_;
  std::string_view arguments_;
  std::string_view environment_;
  std::span<const std::byte> vdso_;
  std::vector<char> directory_; // the working directory, absolute
  std::uint32_t umask_ = 022;
  struct SignalAction {
    std::uint64_t handler = 0;
    std::uint64_t flags = 0;
    std::uint64_t restorer = 0;
    std::uint64_t mask = 0;
  };
  std::array<SignalAction, 65> actions_{};
  std::uint64_t blocked_ = 0;
};

template <typename T> bool Process::fetch(std::uint64_t address, T& to) const {
  if (!may_read(address, sizeof(T))) {
    return false;
  }
  __builtin_memcpy(&to, reinterpret_cast<const void*>(address), sizeof(T)); // NOLINT
  return true;
}

template <typename T> bool Process::store(std::uint64_t address, const T& from) const {
  if (!may_write(address, sizeof(T))) {
    return false;
  }
  __builtin_memcpy(reinterpret_cast<void*>(address), &from, sizeof(T)); // NOLINT
  return true;
}

} // namespace guest::linux
