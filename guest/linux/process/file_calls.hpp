// SPDX-License-Identifier: MIT
// The calls on files and descriptors (program_calls.hpp says how calls are done).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>

#include "guest/linux/events/timer_file.hpp"
#include "guest/linux/process/socket_calls.hpp"

namespace guest::linux {

class FileCalls : protected SocketCalls {
 public:
  using SocketCalls::SocketCalls;

 protected:
  ~FileCalls() = default;

  // ---- calls_descriptors.cpp
  [[nodiscard]] Answer open_path(std::uint64_t directory, std::uint64_t path, std::uint64_t flags,
                                 std::uint64_t mode);
  [[nodiscard]] Answer lock_range(const OpenFile& file, std::uint64_t command,
                                  std::uint64_t address);
  [[nodiscard]] Answer add_seals(const OpenFile& file, std::uint64_t seals) const;
  Answer sys_open(const Args& args);
  Answer sys_openat(const Args& args);
  Answer sys_creat(const Args& args);
  Answer sys_close(const Args& args);
  Answer sys_close_range(const Args& args);
  Answer sys_dup(const Args& args);
  Answer sys_dup2(const Args& args);
  Answer sys_dup3(const Args& args);
  Answer sys_fcntl(const Args& args);
  Answer sys_flock(const Args& args);
  Answer sys_memfd_create(const Args& args);

  // ---- calls_files.cpp
  [[nodiscard]] Answer read_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                                 Offset offset);
  [[nodiscard]] Answer write_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                                  Offset offset);
  // One of them, and what readv and writev do with it.
  using Move = Answer (FileCalls::*)(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                                     Offset offset);
  [[nodiscard]] Answer move_vector(const Args& args, Move move, Offset offset);
  // With flags of the call's own (preadv2).
  [[nodiscard]] Answer move_vector_by(const Args& args, Move move);
  Answer sys_read(const Args& args);
  Answer sys_write(const Args& args);
  Answer sys_pread64(const Args& args);
  Answer sys_pwrite64(const Args& args);
  Answer sys_readv(const Args& args);
  Answer sys_writev(const Args& args);
  Answer sys_preadv(const Args& args);
  Answer sys_pwritev(const Args& args);
  Answer sys_lseek(const Args& args);
  Answer sys_getdents64(const Args& args);
  Answer sys_ioctl(const Args& args);
  Answer sys_preadv2(const Args& args);
  Answer sys_pwritev2(const Args& args);
  Answer sys_readahead(const Args& args);
  Answer sys_fadvise64(const Args& args);

  // ---- calls_transfers.cpp
  // What splice and tee begin with: both files, which stay while the call waits; none, when there
  // is nothing to move. EINVAL of the flags, EBADF.
  struct Ends {
    OpenFile* from = nullptr;
    OpenFile* to = nullptr;
  };
  [[nodiscard]] Or<Ends> splice_ends(std::uint64_t from, std::uint64_t to, std::uint64_t bytes,
                                     std::uint64_t flags);
  enum class Taking : std::uint8_t { no, yes };
  struct Piece {
    std::uint64_t flags = 0; // SPLICE_F_
    Taking taking = Taking::yes;
  };
  [[nodiscard]] Answer move_piece(OpenFile& from, std::uint64_t from_offset, OpenFile& to,
                                  std::uint64_t to_offset, std::uint64_t bytes, Piece what);
  Answer sys_sendfile(const Args& args);
  Answer sys_copy_file_range(const Args& args);
  Answer sys_splice(const Args& args);
  Answer sys_tee(const Args& args);

  // ---- calls_paths.cpp
  [[nodiscard]] Or<abi::FileStat> stat_of(std::uint64_t directory, std::uint64_t path,
                                          std::uint64_t flags);
  [[nodiscard]] Or<abi::FileStat> stat_of_place(const Place& place);
  // `name` is an address.
  [[nodiscard]] Answer get_attribute(const Or<abi::FileStat>& of, std::uint64_t name) const;
  [[nodiscard]] Answer access_of(std::uint64_t directory, std::uint64_t path, std::uint64_t mode,
                                 std::uint64_t flags);
  [[nodiscard]] Answer link_text(std::uint64_t directory, std::uint64_t path, std::uint64_t to,
                                 std::uint64_t bytes);
  Answer sys_stat(const Args& args);
  Answer sys_lstat(const Args& args);
  Answer sys_fstat(const Args& args);
  Answer sys_newfstatat(const Args& args);
  Answer sys_statx(const Args& args);
  Answer sys_access(const Args& args);
  Answer sys_faccessat(const Args& args);
  Answer sys_readlink(const Args& args);
  Answer sys_readlinkat(const Args& args);
  Answer sys_getxattr(const Args& args);
  Answer sys_lgetxattr(const Args& args);
  Answer sys_fgetxattr(const Args& args);
  Answer sys_listxattr(const Args& args);
  Answer sys_llistxattr(const Args& args);
  Answer sys_flistxattr(const Args& args);
  Answer sys_setxattr(const Args& args);
  Answer sys_lsetxattr(const Args& args);
  Answer sys_fsetxattr(const Args& args);
  Answer sys_getcwd(const Args& args);
  Answer sys_chdir(const Args& args);
  Answer sys_fchdir(const Args& args);
  Answer sys_statfs(const Args& args);
  Answer sys_fstatfs(const Args& args);

  // ---- calls_changes.cpp
  // What is done to an open file, or to what a place names.
  using PathAddress = std::optional<std::uint64_t>; // none: the descriptor's own file
  template <typename AtFile, typename AtPlace>
  [[nodiscard]] Answer change(std::uint64_t directory, PathAddress path, std::uint64_t flags,
                              AtFile at_file, AtPlace at_place);
  [[nodiscard]] Answer set_mode(std::uint64_t directory, PathAddress path, std::uint64_t mode);
  [[nodiscard]] Answer set_owner(std::uint64_t directory, PathAddress path, std::uint64_t flags,
                                 const abi::FileOwner& owner);
  [[nodiscard]] Answer set_times(std::uint64_t directory, PathAddress path, std::uint64_t flags,
                                 const abi::FileTimes& times);
  Answer sys_mkdir(const Args& args);
  Answer sys_mkdirat(const Args& args);
  Answer sys_mknod(const Args& args);
  Answer sys_mknodat(const Args& args);
  Answer sys_unlink(const Args& args);
  Answer sys_rmdir(const Args& args);
  Answer sys_unlinkat(const Args& args);
  Answer sys_rename(const Args& args);
  Answer sys_renameat(const Args& args);
  Answer sys_renameat2(const Args& args);
  Answer sys_link(const Args& args);
  Answer sys_linkat(const Args& args);
  Answer sys_symlink(const Args& args);
  Answer sys_symlinkat(const Args& args);
  Answer sys_truncate(const Args& args);
  Answer sys_ftruncate(const Args& args);
  Answer sys_fallocate(const Args& args);
  Answer sys_fsync(const Args& args);
  Answer sys_sync_file_range(const Args& args);
  Answer sys_sync(const Args& args);
  Answer sys_syncfs(const Args& args);
  Answer sys_chmod(const Args& args);
  Answer sys_fchmod(const Args& args);
  Answer sys_fchmodat(const Args& args);
  Answer sys_chown(const Args& args);
  Answer sys_lchown(const Args& args);
  Answer sys_fchown(const Args& args);
  Answer sys_fchownat(const Args& args);
  Answer sys_utime(const Args& args);
  Answer sys_utimes(const Args& args);
  Answer sys_utimensat(const Args& args);

  // ---- calls_waiting.cpp
  struct Watched {
    std::uint64_t descriptor = 0;
    Readiness wanted = 0;
    Readiness is = 0;
    bool open = false;
  };
  // How many of them are ready within the time; EDEADLK when none would ever be.
  [[nodiscard]] Or<std::uint64_t> wait_for(std::span<Watched> all, std::uint64_t timeout_ns);
  [[nodiscard]] Answer poll_until(std::uint64_t address, std::uint64_t count,
                                  std::uint64_t timeout_ns);
  [[nodiscard]] Answer select_until(const Args& args, std::uint64_t timeout_ns);
  Answer sys_pipe(const Args& args);
  Answer sys_pipe2(const Args& args);
  Answer sys_poll(const Args& args);
  Answer sys_ppoll(const Args& args);
  Answer sys_select(const Args& args);
  Answer sys_pselect6(const Args& args);

  // ---- calls_events.cpp
  [[nodiscard]] Or<TimerFile*> timer_file_at(std::uint64_t descriptor) const;
  // Arguments as of epoll_wait but for the time.
  [[nodiscard]] Answer wait_for_events(const Args& args, std::uint64_t timeout_ns);
  [[nodiscard]] Answer wait_for_events(const Args& args, const Or<std::uint64_t>& timeout_ns,
                                       std::uint64_t mask, std::uint64_t mask_bytes);
  Answer sys_eventfd(const Args& args);
  Answer sys_eventfd2(const Args& args);
  Answer sys_timerfd_create(const Args& args);
  Answer sys_timerfd_settime(const Args& args);
  Answer sys_timerfd_gettime(const Args& args);
  Answer sys_signalfd(const Args& args);
  Answer sys_signalfd4(const Args& args);
  Answer sys_epoll_create(const Args& args);
  Answer sys_epoll_create1(const Args& args);
  Answer sys_epoll_ctl(const Args& args);
  Answer sys_epoll_wait(const Args& args);
  Answer sys_epoll_pwait(const Args& args);
  Answer sys_epoll_pwait2(const Args& args);

  // ---- calls_terminal.cpp
  // ioctl of a terminal.
  [[nodiscard]] Answer control_terminal(Terminal& terminal, std::uint64_t request,
                                        std::uint64_t address);
  // How long a read of a terminal waits for more than nothing (VMIN and VTIME of termios(3)).
  [[nodiscard]] static std::uint64_t patience_ns(const OpenFile& file);
};

} // namespace guest::linux
