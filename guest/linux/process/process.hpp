// SPDX-License-Identifier: MIT
// A Linux program and the kernel that it sees: loads it, then answers its threads' system calls.
//
// A call is a row in the table of calls.cpp and a member function in the calls_*.cpp that it
// belongs to, and done by the thread that runs. What a program passes is checked there, once,
// before it is used: memory by UserMemory, descriptors by OpenFiles, paths by FileTree. Pure but
// for the interfaces in file_port.hpp and frames.hpp.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/base/real_time.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/file_tree.hpp"
#include "guest/linux/files/frame_pool.hpp"
#include "guest/linux/files/host_contents.hpp"
#include "guest/linux/files/host_files.hpp"
#include "guest/linux/files/local_socket.hpp"
#include "guest/linux/files/mapped_files.hpp"
#include "guest/linux/files/memory_files.hpp"
#include "guest/linux/files/open_files.hpp"
#include "guest/linux/files/random_bytes.hpp"
#include "guest/linux/files/synthetic_files.hpp"
#include "guest/linux/files/translated_files.hpp"
#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/memory/reclaiming_frames.hpp"
#include "guest/linux/process/call.hpp"
#include "guest/linux/process/credentials.hpp"
#include "guest/linux/process/program_code.hpp"
#include "guest/linux/process/program_loader.hpp"
#include "guest/linux/process/traits.hpp"
#include "guest/linux/process/user_memory.hpp"
#include "guest/linux/signals/registers.hpp"
#include "guest/linux/signals/signals.hpp"
#include "guest/linux/signals/timers.hpp"
#include "guest/linux/signals/waiting_signals.hpp"
#include "guest/linux/sites/site_patcher.hpp"
#include "guest/linux/threads/futexes.hpp"
#include "guest/linux/threads/scheduler.hpp"
#include "shared/program_start.hpp"

namespace guest::linux {

class Process final : private RealTime, private WaitingSignals, private Idle {
 public:
  // What starts the program; `strings` as shared/program_start.hpp says. All outlives the process.
  // `vdso`: a page to be mapped, or nothing.
  Process(abi::ProgramStart& start, std::string_view strings, Frames& frames, PageTables& tables,
          const AddressZones& zones, FilePort& files, Machine& machine, Contexts& contexts,
          const SitePatcher::Enter& enter, std::span<const std::byte> vdso);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Loads the program, and its dynamic linker if it has one. `break_start` is where the break of
  // it, and of every program that follows it, goes. An error number as of execve.
  [[nodiscard]] Or<ProgramEntry> load(std::uint64_t break_start);

  [[nodiscard]] Answer answer(const Call& call);
  // What a thread does first that a call has made.
  void begin_thread();
  // Behind each call, and when a timer or the host interrupts the program: takes signals that have
  // come from outside, and those of timers that have run out, and lets other threads run.
  void catch_up();

  // After a call by a SYSCALL that ends at `behind`: where to return to, so that the next call from
  // there costs less.
  [[nodiscard]] std::uint64_t patch_site(std::uint64_t behind);
  // Where to go on after an illegal instruction that patching has put there; empty: the program's.
  [[nodiscard]] std::optional<std::uint64_t> resume_site(std::uint64_t address) const {
    return sites_.resume(address);
  }

  // Whether the thread is to go on elsewhere than behind its call: go_on() then says where.
  [[nodiscard]] bool is_diverted() const {
    const Thread& thread = scheduler_.running();
    return thread.signals.due() || thread.handler_returns || thread.is_to_end ||
           follower_.has_value();
  }
  // Whether there is nothing to go back to: an execve has replaced the program.
  [[nodiscard]] bool is_followed() const { return follower_.has_value(); }
  // After a call or a fault: into a handler, back out of one, or into the next program.
  void go_on(Registers& registers, const ExtendedState& state);
  // Whether something is to interrupt the program's own code: a signal for a handler, or that is
  // the program's end but what is open for writing is written out before; other threads.
  [[nodiscard]] bool wants_interrupts() const {
    return may_be_interrupted() || !contents_.is_empty() || scheduler_.has_watchers() ||
           scheduler_.next_tick_ns() != Machine::never;
  }
  // Before the guest ends for another reason than the program's call: what the program has written
  // goes where it belongs. The exit status to end with.
  [[nodiscard]] std::uint8_t leave(std::uint8_t status);
  // An instruction faulted. False: the program has no handler for it and is to end.
  [[nodiscard]] bool take_fault(SignalCause cause);

  // The working directory that was asked for, if it is not there: the program begins in the root.
  [[nodiscard]] std::string_view missing_directory() const { return missing_directory_; }
  [[nodiscard]] std::string_view program_path() const { return view(command_.path); }
  // What was opened last to be run: the program, its interpreter, or its dynamic linker.
  [[nodiscard]] std::string_view loaded_path() const { return loader_.opened_path(); }
  [[nodiscard]] AddressSpace& memory() { return memory_; }

 private:
  friend struct CallTable;
  using Args = std::array<std::uint64_t, 6>;

  // A call, or what is wanted of one, that there is not: ENOSYS, and told at the end.
  [[nodiscard]] Answer missing(std::uint64_t call);
  // Where a folder of the host's is to be seen.
  void make_folders_above(std::string_view mount);
  // Puts a program into memory where nothing is.
  [[nodiscard]] Or<ProgramEntry> become(FoundProgram& found);
  // The same instead of the one that asks; an error while there is still that one to go back to.
  [[nodiscard]] Answer execute(Command command, std::string_view directory);

  // ---- calls, by the file that they are in
  // calls_memory.cpp
  Answer sys_mmap(const Args& args);
  Answer sys_munmap(const Args& args);
  Answer sys_mprotect(const Args& args);
  Answer sys_mremap(const Args& args);
  Answer sys_madvise(const Args& args);
  Answer sys_brk(const Args& args);
  Answer sys_mincore(const Args& args);
  Answer sys_msync(const Args& args);
  Answer sys_mlock(const Args& args);
  Answer sys_munlock(const Args& args);
  Answer sys_mlock2(const Args& args);
  Answer sys_mlockall(const Args& args);
  // calls_files.cpp
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
  // calls_transfers.cpp
  Answer sys_sendfile(const Args& args);
  Answer sys_copy_file_range(const Args& args);
  Answer sys_splice(const Args& args);
  Answer sys_tee(const Args& args);
  // calls_descriptors.cpp
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
  // calls_waiting.cpp
  Answer sys_pipe(const Args& args);
  Answer sys_pipe2(const Args& args);
  Answer sys_poll(const Args& args);
  Answer sys_ppoll(const Args& args);
  Answer sys_select(const Args& args);
  Answer sys_pselect6(const Args& args);
  // calls_events.cpp
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
  // calls_sockets.cpp
  Answer sys_socketpair(const Args& args);
  Answer sys_sendto(const Args& args);
  Answer sys_sendmsg(const Args& args);
  Answer sys_recvfrom(const Args& args);
  Answer sys_recvmsg(const Args& args);
  Answer sys_shutdown(const Args& args);
  Answer sys_getsockname(const Args& args);
  Answer sys_getsockopt(const Args& args);
  Answer sys_setsockopt(const Args& args);
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
  // calls_changes.cpp
  Answer sys_mkdir(const Args& args);
  Answer sys_mkdirat(const Args& args);
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
  // calls_execution.cpp
  Answer sys_execve(const Args& args);
  Answer sys_execveat(const Args& args);
  // calls_process.cpp
  Answer sys_exit_group(const Args& args);
  Answer sys_getpid(const Args& args);
  Answer sys_getppid(const Args& args);
  Answer sys_arch_prctl(const Args& args);
  Answer sys_uname(const Args& args);
  Answer sys_prlimit64(const Args& args);
  Answer sys_getrlimit(const Args& args);
  Answer sys_setrlimit(const Args& args);
  Answer sys_sysinfo(const Args& args);
  Answer sys_getrandom(const Args& args);
  Answer sys_sched_getaffinity(const Args& args);
  Answer sys_getrusage(const Args& args);
  Answer sys_getpriority(const Args& args);
  Answer sys_umask(const Args& args);
  Answer sys_nothing(const Args& args);
  Answer sys_wait4(const Args& args);
  Answer sys_waitid(const Args& args);
  // calls_users.cpp
  Answer sys_getuid(const Args& args);
  Answer sys_geteuid(const Args& args);
  Answer sys_getgid(const Args& args);
  Answer sys_getegid(const Args& args);
  Answer sys_setuid(const Args& args);
  Answer sys_setgid(const Args& args);
  Answer sys_setreuid(const Args& args);
  Answer sys_setregid(const Args& args);
  Answer sys_setresuid(const Args& args);
  Answer sys_setresgid(const Args& args);
  Answer sys_setfsuid(const Args& args);
  Answer sys_setfsgid(const Args& args);
  Answer sys_getresuid(const Args& args);
  Answer sys_getresgid(const Args& args);
  Answer sys_getgroups(const Args& args);
  Answer sys_setgroups(const Args& args);
  Answer sys_capget(const Args& args);
  Answer sys_capset(const Args& args);
  Answer sys_not_permitted(const Args& args);
  Answer sys_getpgid(const Args& args);
  Answer sys_setpgid(const Args& args);
  Answer sys_prctl(const Args& args);
  Answer sys_personality(const Args& args);
  // calls_scheduling.cpp
  Answer sys_sched_get_priority_max(const Args& args);
  Answer sys_sched_get_priority_min(const Args& args);
  Answer sys_sched_getscheduler(const Args& args);
  Answer sys_sched_getparam(const Args& args);
  Answer sys_sched_setscheduler(const Args& args);
  Answer sys_sched_setparam(const Args& args);
  Answer sys_sched_rr_get_interval(const Args& args);
  Answer sys_sched_setaffinity(const Args& args);
  Answer sys_getcpu(const Args& args);
  Answer sys_ioprio_get(const Args& args);
  Answer sys_ioprio_set(const Args& args);
  Answer sys_membarrier(const Args& args);
  // calls_threads.cpp
  Answer sys_clone(const Args& args);
  Answer sys_clone3(const Args& args);
  Answer sys_exit(const Args& args);
  Answer sys_gettid(const Args& args);
  Answer sys_set_tid_address(const Args& args);
  Answer sys_set_robust_list(const Args& args);
  Answer sys_get_robust_list(const Args& args);
  Answer sys_sched_yield(const Args& args);
  // calls_futex.cpp
  Answer sys_futex(const Args& args);
  // calls_signals.cpp
  Answer sys_rt_sigaction(const Args& args);
  Answer sys_rt_sigprocmask(const Args& args);
  Answer sys_rt_sigpending(const Args& args);
  Answer sys_pause(const Args& args);
  Answer sys_rt_sigsuspend(const Args& args);
  Answer sys_rt_sigreturn(const Args& args);
  Answer sys_sigaltstack(const Args& args);
  Answer sys_kill(const Args& args);
  Answer sys_tkill(const Args& args);
  Answer sys_tgkill(const Args& args);
  Answer sys_rt_sigqueueinfo(const Args& args);
  Answer sys_rt_tgsigqueueinfo(const Args& args);
  Answer sys_rt_sigtimedwait(const Args& args);
  // calls_timers.cpp
  Answer sys_alarm(const Args& args);
  Answer sys_setitimer(const Args& args);
  Answer sys_getitimer(const Args& args);
  Answer sys_timer_create(const Args& args);
  Answer sys_timer_settime(const Args& args);
  Answer sys_timer_gettime(const Args& args);
  Answer sys_timer_getoverrun(const Args& args);
  Answer sys_timer_delete(const Args& args);
  // calls_terminal.cpp
  [[nodiscard]] Answer control_terminal(Terminal& terminal, std::uint64_t request,
                                        std::uint64_t address);
  // calls_time.cpp
  Answer sys_clock_gettime(const Args& args);
  Answer sys_clock_getres(const Args& args);
  Answer sys_gettimeofday(const Args& args);
  Answer sys_time(const Args& args);
  Answer sys_times(const Args& args);
  Answer sys_nanosleep(const Args& args);
  Answer sys_clock_nanosleep(const Args& args);

  // ---- whose it is
  [[nodiscard]] static Answer wait_for_child(const Args& args);
  [[nodiscard]] Answer store_ids(const Credentials::Ids& ids, const Args& to) const;
  [[nodiscard]] Or<std::size_t> capability_words(std::uint64_t header, std::int32_t& process) const;
  [[nodiscard]] Answer set_name(std::uint64_t address);
  [[nodiscard]] Answer name_memory(std::uint64_t address, std::uint64_t bytes,
                                   std::uint64_t name) const;
  [[nodiscard]] Answer set_policy(std::uint64_t thread, std::int32_t policy,
                                  std::uint64_t parameters);

  // ---- mappings
  [[nodiscard]] int check_mapping(const Args& args) const;
  [[nodiscard]] static int check_mapped_file(const OpenFile& file, std::uint64_t protection,
                                             std::uint64_t flags);

  // ---- files
  using Place = FileTree::Place;
  using Last = FileTree::Last;
  [[nodiscard]] OpenFile* file_at(std::uint64_t descriptor) const {
    return open_files_.get(descriptor & 0xffffffff);
  }
  // One that is there still when the call has waited for another file.
  [[nodiscard]] OpenFile* held_file_at(std::uint64_t descriptor);
  // Where a directory's descriptor and a path lead.
  [[nodiscard]] Or<Place> walk(std::uint64_t directory, std::string_view path, Last last);
  [[nodiscard]] Or<Place> place_at(std::uint64_t directory, std::uint64_t path, Last last);
  [[nodiscard]] Answer open_path(std::uint64_t directory, std::uint64_t path, std::uint64_t flags,
                                 std::uint64_t mode);
  // What `flags` make of a place.
  [[nodiscard]] Or<File*> open_place(const Place& place, std::uint64_t flags, std::uint32_t mode);
  [[nodiscard]] Answer add_file(File* file, std::uint64_t flags, Text path);
  [[nodiscard]] Answer add_two(File* one, File* other, std::uint64_t flags,
                               std::uint64_t other_flags, std::uint64_t address);
  // At an offset, or where the program is in the file, which moves it.
  using Offset = std::optional<std::uint64_t>;
  [[nodiscard]] Answer read_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                                 Offset offset);
  [[nodiscard]] Answer write_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                                  Offset offset);
  // Whose memory bytes are in: the program's may be unmapped by another thread while a call waits.
  enum class BytesOf : std::uint8_t { program, kernel };
  // No: they have been unmapped meanwhile (EFAULT).
  [[nodiscard]] bool are_there(std::span<const std::byte> bytes, BytesOf whose) const;
  [[nodiscard]] Answer write_bytes(OpenFile& file, std::span<const std::byte> from, Offset offset,
                                   BytesOf whose);
  // The signal that a program gets beside that error of a stream.
  void signal_failed_write(const OpenFile& to, int error);
  [[nodiscard]] Answer write_stream(const OpenFile& file, std::span<const std::byte> from,
                                    BytesOf whose);
  [[nodiscard]] static Or<std::uint64_t> readable_bytes(const OpenFile& file);
  // With every call: what is open for writing stays within its bounds.
  void tend_files();
  void complain(std::string_view path, int error);
  // read_file or write_file, and what readv and writev do with it.
  using Move = Answer (Process::*)(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                                   Offset offset);
  [[nodiscard]] Answer move_vector(const Args& args, Move move, Offset offset);
  // With flags of the call's own (preadv2).
  [[nodiscard]] Answer move_vector_by(const Args& args, Move move);
  // Where a transfer begins: at the offset that `address` names, or where the file is.
  [[nodiscard]] Or<std::uint64_t> transfer_offset(const OpenFile& file,
                                                  std::uint64_t address) const;
  // Behind one, which ends at `offset`. False: it cannot be told there.
  [[nodiscard]] bool end_transfer(OpenFile& file, std::uint64_t address, std::uint64_t offset);
  enum class Taking : std::uint8_t { no, yes };
  struct Piece {
    std::uint64_t flags = 0; // SPLICE_F_
    Taking taking = Taking::yes;
  };
  [[nodiscard]] static Or<std::uint64_t> look_at(const OpenFile& from, std::uint64_t offset,
                                                 std::span<std::byte> piece);
  [[nodiscard]] Answer move_piece(OpenFile& from, std::uint64_t from_offset, OpenFile& to,
                                  std::uint64_t to_offset, std::uint64_t bytes, Piece what);
  [[nodiscard]] static bool is_same_pipe(const OpenFile& one, const OpenFile& other);
  [[nodiscard]] Answer lock_range(const OpenFile& file, std::uint64_t command,
                                  std::uint64_t address);
  [[nodiscard]] Or<abi::FileStat> stat_of(std::uint64_t directory, std::uint64_t path,
                                          std::uint64_t flags);
  [[nodiscard]] Or<abi::FileStat> stat_of_place(const Place& place);
  // `name` is an address.
  [[nodiscard]] Answer get_attribute(const Or<abi::FileStat>& of, std::uint64_t name) const;
  [[nodiscard]] Answer access_of(std::uint64_t directory, std::uint64_t path, std::uint64_t mode,
                                 std::uint64_t flags);
  [[nodiscard]] Answer link_text(std::uint64_t directory, std::uint64_t path, std::uint64_t to,
                                 std::uint64_t bytes);
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
  [[nodiscard]] Answer add_seals(const OpenFile& file, std::uint64_t seals) const;
  [[nodiscard]] Or<TimerFile*> timer_file_at(std::uint64_t descriptor) const;
  [[nodiscard]] itimerspec rest_of(TimerFile& timer);
  // Arguments as of epoll_wait but for the time.
  [[nodiscard]] Answer wait_for_events(const Args& args, std::uint64_t timeout_ns);
  [[nodiscard]] Answer wait_for_events(const Args& args, const Or<std::uint64_t>& timeout_ns,
                                       std::uint64_t mask, std::uint64_t mask_bytes);
  // ---- sockets
  using SharedFiles = std::vector<std::shared_ptr<OpenFile>>;
  [[nodiscard]] Or<std::shared_ptr<OpenFile>> socket_at(std::uint64_t descriptor) const;
  [[nodiscard]] Or<std::shared_ptr<OpenFile>>
  socket_to_move(std::uint64_t descriptor, std::uint64_t address, std::uint64_t bytes) const;
  struct SocketMessage {
    std::shared_ptr<OpenFile> file;
    msghdr header{};
    std::vector<iovec> parts;
  };
  [[nodiscard]] Or<SocketMessage> message_at(std::uint64_t descriptor, std::uint64_t address) const;
  [[nodiscard]] Or<SharedFiles> files_to_send(const msghdr& message) const;
  [[nodiscard]] Answer send_piece(const OpenFile& file, std::span<const std::byte> piece,
                                  BytesOf whose, const SharedFiles& files, std::uint64_t flags);
  [[nodiscard]] Answer send_parts(const OpenFile& file, const std::vector<iovec>& parts,
                                  SharedFiles files, std::uint64_t flags);
  [[nodiscard]] bool put_parts(const std::vector<iovec>& parts, std::uint64_t offset,
                               std::span<const std::byte> bytes);
  [[nodiscard]] Or<LocalSocket::Received>
  receive_parts(const OpenFile& file, const std::vector<iovec>& parts, std::uint64_t flags);
  [[nodiscard]] static Answer received_bytes(const LocalSocket::Received& got, std::uint64_t flags);
  [[nodiscard]] std::uint64_t put_control(std::uint64_t to, std::uint64_t room, std::int32_t type,
                                          std::span<const std::byte> content) const;
  [[nodiscard]] std::uint64_t receive_control(const LocalSocket& socket, SharedFiles files,
                                              const msghdr& message, std::uint64_t flags,
                                              std::int32_t& told);
  struct Watched {
    std::uint64_t descriptor = 0;
    Readiness wanted = 0;
    Readiness is = 0;
    bool open = false;
  };
  // Waits until a stream is ready for `wanted`, or for so long. 0; EDEADLK when it would never be;
  // `restart` for a signal.
  [[nodiscard]] Answer wait_for_stream(const OpenFile& file, Readiness wanted,
                                       std::uint64_t timeout_ns);
  // How long a read of a terminal waits for more than nothing (VMIN and VTIME of termios(3)).
  [[nodiscard]] static std::uint64_t patience_ns(const OpenFile& file);
  // How many of them are ready within the time; EDEADLK when none would ever be.
  [[nodiscard]] Or<std::uint64_t> wait_for(std::span<Watched> all, std::uint64_t timeout_ns);
  [[nodiscard]] Answer poll_until(std::uint64_t address, std::uint64_t count,
                                  std::uint64_t timeout_ns);
  [[nodiscard]] Answer select_until(const Args& args, std::uint64_t timeout_ns);
  // Of a timespec's address; none for a null pointer. EFAULT, EINVAL.
  [[nodiscard]] Or<std::uint64_t> timeout_at(std::uint64_t address) const;

  // Signals that are the program's to handle when they come, or to end by.
  [[nodiscard]] SignalSet handled_signals() const;
  // Whether something could end a wait that has no other end.
  [[nodiscard]] bool may_be_interrupted() const {
    return actions_.has_handlers() || timers_.any_set();
  }
  // Whether it was slept that long; no: there is a signal to handle.
  [[nodiscard]] bool sleep_until(std::uint64_t deadline_ns);
  // The same once: until then, or until something happens.
  void rest_until(std::uint64_t deadline_ns, Scheduler::Wakes wakes = Scheduler::Wakes::by_name) {
    scheduler_.wait_until_ns(deadline_ns, wakes);
  }
  void idle_until_ns(std::uint64_t deadline) override;
  [[nodiscard]] Timers::Now now() {
    const std::uint64_t elapsed_ns = machine_.now_ns();
    return {.elapsed_ns = elapsed_ns, .used_ns = elapsed_ns - slept_ns_};
  }
  // What a clock of Linux shows; EINVAL.
  [[nodiscard]] const Thread* thread_of_clock(std::uint64_t clock) const; // null: it is of none
  [[nodiscard]] Or<std::int64_t> clock_ns(std::uint64_t clock);
  // That clock by which timers go, and what it shows when it shows 0 for them; EINVAL.
  struct TimerClock {
    Timers::Clock clock = Timers::Clock::elapsed;
    std::int64_t epoch_ns = 0;
  };
  [[nodiscard]] Or<TimerClock> timer_clock(std::uint64_t clock) const;
  void set_timer(std::int32_t timer, const Timers::Setting& setting);
  [[nodiscard]] Or<std::int32_t> timer_at(std::uint64_t number) const;
  // What is left of a timer's time, and its interval; 0 of one that is off.
  struct TimerRest {
    std::uint64_t left_ns = 0;
    std::uint64_t interval_ns = 0;
  };
  [[nodiscard]] TimerRest rest_of(std::int32_t timer);
  [[noreturn]] void end(std::uint8_t status);
  [[noreturn]] void end_by_signal(std::uint64_t signal);
  // While a call waits, other signals are blocked: the set of `bytes` at `address`, if there is
  // one.
  [[nodiscard]] int suspend_signals(std::uint64_t address, std::uint64_t bytes);
  // Behind that call.
  void end_suspension();
  [[nodiscard]] Signals& signals() const { return scheduler_.running().signals; }
  [[nodiscard]] SignalCause cause_of(std::uint64_t signal, std::int32_t code) const;
  void receive_signals();
  // To a thread, or to whichever takes it.
  void send(Thread& thread, const SignalCause& cause);
  void send_to_any(const SignalCause& cause);
  // The same by what a call says; EINVAL, ESRCH.
  Answer send_to_thread(std::int64_t group, std::int64_t thread, const SignalCause& cause);
  Answer send_to_process(std::int64_t target, const SignalCause& cause);
  // What siginfo_t at an address says, if it may wait there; EFAULT, EAGAIN.
  [[nodiscard]] Or<SignalCause> cause_at(std::uint64_t signal, std::uint64_t address,
                                         const PendingSignals& room) const;
  // Does to the process what a signal does.
  void suffer(SignalEffect effect, std::uint64_t signal);
  void stop();
  // Of a timer's signal, which the program gets.
  void count_overruns(SignalCause& cause);
  // Behind a call: goes on where it is made.
  void call_again(Registers& registers, std::uint64_t number) const;
  void push_handler(Registers& registers, const ExtendedState& state, const Signals::Taken& taken);
  void restore_alternate_stack(AlternateStack stack, std::uint64_t stack_pointer);
  [[nodiscard]] bool pop_handler(Registers& registers, const ExtendedState& state);

  // ---- threads
  [[nodiscard]] bool is_alone() const { return scheduler_.threads().size() == 1; }
  struct ThreadStart {
    std::uint64_t flags = 0; // CLONE_
    std::uint64_t stack = 0; // its end; 0: the caller's
    std::uint64_t thread_pointer = 0;
    std::uint64_t parent_id_at = 0; // addresses of numbers
    std::uint64_t child_id_at = 0;
  };
  [[nodiscard]] Answer start_thread(const ThreadStart& start);
  // Of the running one, which is not alone.
  [[noreturn]] void end_thread();
  // Who waits for its end, or for what it has locked, is told.
  void tell_end_of(Thread& thread);
  // A lock that the thread holds is nobody's any more.
  void abandon_lock(const Thread& thread, std::uint64_t address, bool has_priorities);
  void abandon_locks(const Thread& thread);
  // The others end; no, if the running one is to end, too.
  [[nodiscard]] bool end_others();
  [[nodiscard]] Answer wait_at(std::uint64_t address, std::uint32_t value, std::uint32_t bits,
                               std::uint64_t deadline_ns);
  [[nodiscard]] Answer lock_at(std::uint64_t address, std::uint64_t deadline_ns);
  [[nodiscard]] Answer try_lock_at(std::uint64_t address);
  [[nodiscard]] Answer unlock_at(std::uint64_t address);
  [[nodiscard]] Answer wake_by_operation(const Args& args);
  // Of futex's time-out, for an operation; EFAULT, EINVAL.
  [[nodiscard]] Or<std::uint64_t> futex_deadline(std::uint64_t operation, std::uint64_t timeout_at);
  // Has the program interrupted when a timer runs out or another thread is to run.
  void arm_alarm();

  [[nodiscard]] std::int64_t realtime_ns() override {
    return start_.realtime_ns + static_cast<std::int64_t>(machine_.now_ns());
  }

  [[nodiscard]] SignalSet waiting_signals() const override { return signals().waiting(); }
  [[nodiscard]] std::optional<SignalCause> accept_signal(SignalSet wanted) override;
  [[nodiscard]] std::uint64_t signal_arrivals() const override { return signals().arrivals(); }

  abi::ProgramStart& start_; // counts of calls go there
  Machine& machine_;
  AreaList areas_;
  AreaViews views_;
  MappedFiles mapped_;
  FramePool cache_pages_;
  HostContents contents_; // of the host's files that are open for writing
  ReclaimingFrames frames_;
  AddressSpace memory_;
  UserMemory user_;
  TranslatedFiles files_;
  RandomBytes random_;
  ProgramCode code_;
  SitePatcher sites_;
  FramePool pages_;
  HostFiles host_to_read_;
  HostFiles host_to_change_;
  MemoryFiles temporary_; // /tmp
  MemoryFiles shared_;    // /dev/shm
  FileTree tree_;
  OpenFiles open_files_;
  Credentials credentials_;
  Traits traits_;
  ProgramLoader loader_;
  Command command_;       // what runs
  Text executable_place_; // the file of it, as Place::path
  std::uint64_t break_start_ = 0;
  std::optional<ProgramEntry> follower_; // the program that an execve has loaded
  std::string_view missing_directory_;
  std::uint64_t pipes_ = 0; // ever made
  Text directory_;          // the working directory, as Place::path
  std::unique_ptr<SyntheticFiles> synthetic_;
  std::uint32_t umask_ = 022;
  SignalActions actions_;
  PendingSignals shared_pending_; // signals for whichever thread takes them
  Timers timers_;
  std::uint64_t slept_ns_ = 0;     // of the time since boot
  std::uint64_t caller_stack_ = 0; // RSP of the call at hand
  bool ends_in_order_ = false; // the outside was told that a signal is not to end the program there
  Contexts& contexts_;
  Scheduler scheduler_;
  Futexes futexes_;
  std::int32_t last_thread_id_ = process_id; // ever given
  std::uint8_t status_ = 0;                  // of the first thread's end
  bool has_alarm_ = false;                   // that the machine was told
  std::uint64_t tick_ns_ = Machine::never;   // when the program is interrupted for other threads
};

} // namespace guest::linux
