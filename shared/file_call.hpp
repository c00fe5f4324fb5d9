// SPDX-License-Identifier: MIT
// File calls, since ABI 1.2 with feature_files: what a program in the guest may ask of the host's
// files.
//
// They travel by the mailbox (shared/call_mailbox.hpp) at EBB_FILE_MAILBOX; its hypercall is
// `file`.
//
// Files have numbers of the guest's, 0 to max_open_files - 1, which mean nothing to the host beyond
// its own table: 0, 1 and 2 are the vmm's own input, output and errors, the others are given by
// `open`. Buffers are RAM or the guest's own area, and at most file_transfer_bytes long.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/call_mailbox.hpp"
#include "shared/hypercall.hpp"
#include "shared/layout.h"

namespace abi {

enum class FileOperation : std::uint32_t {
  // Opens the path as `flags` (FileFlags) say, a new file with `mode`. Result: the file's number.
  open = 1,
  close = 2,
  // Reads from `offset`, or from where a stream is, into the buffer; with file_no_wait EAGAIN of a
  // stream that has nothing yet. Result: bytes, 0 at the end.
  read = 3,
  // Writes the buffer at `offset`, with file_append at the file's end, or to where a stream is;
  // with
  // file_no_wait EAGAIN of a stream that takes nothing now. Result: bytes.
  write = 4,
  // FileStat of an open file, or of a path (file_no_follow), into the buffer. Result: 0.
  stat = 5,
  stat_path = 6,
  // What a symbolic link says, without NUL, into the buffer. Result: bytes.
  read_link = 7,
  // The next entries of an open directory, as DirectoryEntry each. Result: bytes; 0 at the end.
  list = 8,
  // Starts the list again at `offset`, a DirectoryEntry::next of that directory or 0. Result: 0.
  seek_list = 9,
  // Fills the buffer, at most random_bytes, with random bytes that are fit for secrets. Result:
  // bytes.
  random = 10,
  // TerminalSize of a stream that is a terminal, into the buffer. Result: 0, or ENOTTY.
  terminal = 11,
  // Cuts or extends an open file to `offset` bytes. Result: 0.
  truncate = 12,
  // Brings what was written to the disk. Result: 0 when it is there.
  sync = 13,
  make_directory = 14, // path and `mode`
  remove = 15,         // path; with file_directory an empty directory, else anything but one
  // Path; the buffer holds the new one. With file_exclusive nothing is replaced, with file_exchange
  // the two change places.
  rename = 16,
  link = 17,      // path; the buffer holds another name for it
  make_link = 18, // path; the buffer holds what the symbolic link says
  // Of a path, never following a link at its end, or of an open file where there is no path.
  set_mode = 19,  // `mode`, of regular files and directories
  set_times = 20, // FileTimes in the buffer
  set_owner = 21, // FileOwner in the buffer
  space = 22,     // FileSpace of the file system, into the buffer
  // Gives `length` bytes of an open file from `offset` on space, or takes it, as `mode` says: the
  // mode argument of fallocate of Linux. Result: 0.
  allocate = 23,
  // Waits until a stream is file_readable or file_writable, whatever of them `flags` has, for at
  // most `offset` ns. Result: what it is of them and file_hung_up; 0: the time is over.
  wait = 24,
  // Returns at once; the guest is interrupted once a stream is file_readable or file_writable,
  // whatever of them `flags` has, or is hung up: VcpuPage::streams_ready. Once for each call; a
  // later one for the same stream takes an earlier one's place. Result: 0.
  watch = 25,
  // Moves a stream that is a regular file by `offset`, from where `mode` says (SEEK_SET, SEEK_CUR,
  // SEEK_END of Linux). Result: where it is then; ESPIPE of all others.
  seek = 26,
  // TerminalMode of a stream that is a terminal, into the buffer, or from there. Result: 0, ENOTTY.
  terminal_mode = 27,
  set_terminal_mode = 28,
  // Discards what a terminal has not delivered: input, output or both, as `mode` says (TCIFLUSH,
  // TCOFLUSH, TCIOFLUSH of Linux). Result: 0, ENOTTY.
  flush_terminal = 29,
  // How much could be read from a stream at once. Result: bytes; ENOTTY where that is not known.
  readable_bytes = 30,
  // Stops the vmm as a terminal's stop key does, if a stream is one. Result: 0, once it goes on;
  // ENOTTY.
  stop = 31,
  // Tells that a program has `length` bytes of an open file, from `offset` on, as code at the
  // address that stands for the buffer, whose buffer_bytes is 0. Only where the host wants to know
  // (watched_by_profile). Result: 0.
  code = 32,
};

enum FileFlags : std::uint32_t {
  file_no_follow = 1U << 0, // a symbolic link at the path's end is not followed
  file_directory = 1U << 1, // anything but a directory is refused
  file_write = 1U << 2,     // also for writing
  file_create = 1U << 3,    // makes it if it is not there; for writing
  file_exclusive = 1U << 4, // with file_create: refused if it is there
  file_truncate = 1U << 5,  // for writing
  file_append = 1U << 6,
  file_temporary = 1U << 7, // a new file without a name, in the directory of that path; for writing
  file_exchange = 1U << 8,
  file_readable = 1U << 9,
  file_writable = 1U << 10,
  file_hung_up = 1U << 11,
  file_no_wait = 1U << 12,
};

inline constexpr std::uint32_t max_open_files = 16384;
inline constexpr std::uint64_t file_transfer_bytes = std::uint64_t{1} << 20;
inline constexpr std::uint64_t file_path_bytes = 4095; // without NUL
inline constexpr std::uint64_t random_bytes = 256;

struct FileCall {
  FileOperation operation{};
  std::uint32_t file = 0;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;
  std::uint64_t offset = 0;
  std::uint64_t buffer_gpa = 0;
  std::uint64_t buffer_bytes = 0;
  std::uint64_t path_gpa = 0; // from the root directory, with or without a leading slash
  std::uint64_t path_bytes = 0;
  std::uint64_t length = 0;
};
static_assert(offsetof(FileCall, file) == 4);
static_assert(offsetof(FileCall, mode) == 12);
static_assert(offsetof(FileCall, offset) == 16);
static_assert(offsetof(FileCall, buffer_gpa) == 24);
static_assert(offsetof(FileCall, path_gpa) == 40);
static_assert(offsetof(FileCall, length) == 56);
static_assert(sizeof(FileCall) == 64);

using FileResult = CallResult;
using FileMailbox = CallMailbox<FileCall>;
static_assert(offsetof(FileMailbox, answered) == 4);
static_assert(offsetof(FileMailbox, host_watches) == 8);
static_assert(offsetof(FileMailbox, result) == 16);
static_assert(offsetof(FileMailbox, call) == 24);
static_assert(sizeof(FileMailbox) == 88);
static_assert(EBB_FILE_MAILBOX >= sizeof(VcpuPage));
static_assert(EBB_FILE_MAILBOX + sizeof(FileMailbox) <= EBB_VCPU_OWN);

// Times in nanoseconds since 1970, UTC.
inline constexpr std::int64_t file_time_unknown = INT64_MIN;
struct FileStat {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t links = 0;
  std::uint64_t bytes = 0;
  std::uint64_t blocks = 0; // of 512 bytes
  std::int64_t accessed_ns = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  std::uint32_t mode = 0; // type and rights, as st_mode of Linux on x86-64
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  std::uint32_t block_bytes = 0;
  std::uint64_t special_device = 0; // which device a device's file is, as st_rdev
  std::int64_t born_ns = file_time_unknown;
};
static_assert(offsetof(FileStat, mode) == 64);
static_assert(sizeof(FileStat) == 96);
// What older guests have room for.
inline constexpr std::size_t least_file_stat_bytes = 80;

// As FileStat has them, or one of the two constants.
inline constexpr std::int64_t file_time_now = INT64_MIN;
inline constexpr std::int64_t file_time_kept = file_time_now + 1;
struct FileTimes {
  std::int64_t accessed_ns = file_time_kept;
  std::int64_t modified_ns = file_time_kept;
};
static_assert(sizeof(FileTimes) == 16);

inline constexpr std::uint32_t file_owner_kept = ~std::uint32_t{0};
struct FileOwner {
  std::uint32_t user = file_owner_kept;
  std::uint32_t group = file_owner_kept;
};
static_assert(sizeof(FileOwner) == 8);

// What statfs of Linux says.
struct FileSpace {
  std::uint64_t type = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t blocks = 0;
  std::uint64_t free_blocks = 0;
  std::uint64_t available_blocks = 0;
  std::uint64_t files = 0;
  std::uint64_t free_files = 0;
  std::uint64_t name_bytes = 0;
};
static_assert(sizeof(FileSpace) == 64);

struct TerminalSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};
static_assert(sizeof(TerminalSize) == 4);

// The kernel's struct termios. What belongs to a line's hardware, as its speed, is only read.
struct TerminalMode {
  std::uint32_t input = 0;   // c_iflag
  std::uint32_t output = 0;  // c_oflag
  std::uint32_t control = 0; // c_cflag
  std::uint32_t local = 0;   // c_lflag
  std::uint8_t line = 0;     // c_line
  std::uint8_t characters[19] = {};
};
static_assert(sizeof(TerminalMode) == 36);

// An entry of a directory, as getdents64 of Linux returns it: this head, the name with its NUL, and
// whatever fills `bytes`, a multiple of 8.
struct DirectoryEntry {
  std::uint64_t inode = 0;
  std::uint64_t next = 0; // where the entry behind this one is
  std::uint16_t bytes = 0;
  std::uint8_t type = 0; // DT_ constants of Linux
};
inline constexpr std::size_t directory_entry_name = 19; // offset
static_assert(offsetof(DirectoryEntry, type) == 18);

} // namespace abi
