// SPDX-License-Identifier: MIT
// Which Linux program the guest is to run, since ABI 1.2 with feature_files: at
// BootInfo::program_gpa, in the guest's own memory. Behind the struct come strings, each ended by
// NUL: the path of the program, the working directory, then the arguments (the first is the
// program's name for itself), then the environment, then the mounts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace abi {

inline constexpr std::uint64_t program_start_magic = 0x31474f5250424245; // "EBBPROG1"
// Of the strings, NULs included: what Linux allows with its usual limit of 8 MiB for the stack.
inline constexpr std::uint64_t max_program_string_bytes = std::uint64_t{2} << 20;
// Numbers of system calls are below.
inline constexpr std::size_t program_calls = 512;

// Who looks at the program.
enum ProgramWatch : std::uint64_t {
  // Its code is as its file has it then, and what it maps of files is there at once.
  watched_by_debugger = 1U << 0,
  // The guest tells what code the program has (FileOperation::code).
  watched_by_profile = 1U << 1,
};

// What becomes of a program whose working directory is no folder in the guest.
enum class MissingDirectory : std::uint64_t {
  told = 0,   // it begins in /, and the guest says so
  silent = 1, // it begins in /
  fatal = 2,  // it was asked for by name: the guest says so, and ends with status 2
};

struct ProgramStart {
  std::uint64_t magic = program_start_magic;
  std::uint64_t string_bytes = 0;
  std::uint32_t arguments = 0;
  std::uint32_t environment = 0;
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  std::int64_t realtime_ns = 0; // since 1970, UTC, when the guest's time stamp counter read tsc
  std::uint64_t tsc = 0;
  // Guest-written, for the host to show: calls made of each number, and whether it is missing (its
  // bit in `missing`); calls that asked the host's files; how they came.
  std::uint64_t calls[program_calls] = {};
  std::uint64_t missing[program_calls / 64] = {};
  std::uint64_t left = 0;
  std::uint64_t by_instruction = 0; // calls made with SYSCALL; the others came from patched sites
  std::uint64_t mounts = 0;         // host-written: folders of the host's beside the root
  std::uint64_t watched = 0;        // host-written: ProgramWatch bits
  // Host-written: signals that the program begins with as ignored, bit n - 1 for n; standard
  // streams that it begins without, bit n for n.
  std::uint64_t ignored_signals = 0;
  std::uint64_t closed_streams = 0;
  MissingDirectory missing_directory = MissingDirectory::told; // host-written
};
static_assert(offsetof(ProgramStart, arguments) == 16);
static_assert(offsetof(ProgramStart, realtime_ns) == 32);
static_assert(offsetof(ProgramStart, calls) == 48);
static_assert(offsetof(ProgramStart, missing) == 48 + 8 * program_calls);
static_assert(offsetof(ProgramStart, left) == 48 + 8 * program_calls + program_calls / 8);
static_assert(sizeof(ProgramStart) == 104 + 8 * program_calls + program_calls / 8);

// What the first letter of a mount's string says of it; its path follows, absolute.
inline constexpr char mount_to_read = 'r';
inline constexpr char mount_to_change = 'w';

} // namespace abi
