// SPDX-License-Identifier: MIT
// Which system calls there are. A number without a row is missing and answered with ENOSYS.
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include "guest/linux/process/process.hpp"

namespace guest::linux {

// Arguments that are ints.
template <typename... Numbers> constexpr std::uint8_t ints(Numbers... numbers) {
  return static_cast<std::uint8_t>(((1U << numbers) | ...));
}

template <typename Handler> struct CallRow {
  long number;
  SupportedCall call;
  Handler handler;
  std::uint8_t narrow = 0; // bit n: argument n is an int, whatever its register has above
};

struct CallTable {
  using Handler = Answer (Process::*)(const Process::Args&);
  using Row = CallRow<Handler>;
  static constexpr auto rows = std::to_array<Row>({
      {SYS_mmap,
       {"mmap", "of files that are open for reading alone, shared pages are copies"},
       &Process::sys_mmap},
      {SYS_munmap, {"munmap", ""}, &Process::sys_munmap},
      {SYS_mprotect, {"mprotect", ""}, &Process::sys_mprotect},
      {SYS_mremap, {"mremap", "not with DONTUNMAP"}, &Process::sys_mremap},
      {SYS_madvise,
       {"madvise", "DONTNEED and FREE give memory back; some advice is not needed"},
       &Process::sys_madvise,
       ints(2)},
      {SYS_brk, {"brk", ""}, &Process::sys_brk},
      {SYS_mincore, {"mincore", "small mappings always have memory"}, &Process::sys_mincore},
      {SYS_msync, {"msync", "the whole file"}, &Process::sys_msync, ints(2)},
      {SYS_mlock, {"mlock", "nothing is ever swapped"}, &Process::sys_mlock},
      {SYS_munlock, {"munlock", "nothing is ever swapped"}, &Process::sys_munlock},
      {SYS_mlock2, {"mlock2", "nothing is ever swapped"}, &Process::sys_mlock2, ints(2)},
      {SYS_mlockall, {"mlockall", "nothing is ever swapped"}, &Process::sys_mlockall, ints(0)},
      {SYS_munlockall, {"munlockall", "nothing is ever swapped"}, &Process::sys_nothing},

      {SYS_read, {"read", ""}, &Process::sys_read},
      {SYS_write, {"write", ""}, &Process::sys_write},
      {SYS_pread64, {"pread64", ""}, &Process::sys_pread64},
      {SYS_pwrite64, {"pwrite64", ""}, &Process::sys_pwrite64},
      {SYS_readv, {"readv", ""}, &Process::sys_readv},
      {SYS_writev, {"writev", ""}, &Process::sys_writev},
      {SYS_preadv, {"preadv", ""}, &Process::sys_preadv},
      {SYS_pwritev, {"pwritev", ""}, &Process::sys_pwritev},
      {SYS_preadv2,
       {"preadv2", "plain, and with RWF_HIPRI and the syncing ones"},
       &Process::sys_preadv2,
       ints(5)},
      {SYS_pwritev2,
       {"pwritev2", "plain, and with RWF_HIPRI and the syncing ones"},
       &Process::sys_pwritev2,
       ints(5)},
      {SYS_readahead, {"readahead", "nothing to be done"}, &Process::sys_readahead},
      {SYS_fadvise64, {"fadvise64", "nothing to be done"}, &Process::sys_fadvise64, ints(3)},
      {SYS_socketpair,
       {"socketpair", "AF_UNIX; there are no other sockets"},
       &Process::sys_socketpair,
       ints(0, 1, 2)},
      {SYS_sendto, {"sendto", "of those"}, &Process::sys_sendto, ints(3)},
      {SYS_sendmsg, {"sendmsg", "files and credentials go along"}, &Process::sys_sendmsg, ints(2)},
      {SYS_recvfrom, {"recvfrom", "of those"}, &Process::sys_recvfrom, ints(3)},
      {SYS_recvmsg,
       {"recvmsg", "files and credentials come along"},
       &Process::sys_recvmsg,
       ints(2)},
      {SYS_shutdown, {"shutdown", ""}, &Process::sys_shutdown, ints(1)},
      {SYS_getsockname, {"getsockname", "no socket has a name"}, &Process::sys_getsockname},
      {SYS_getpeername, {"getpeername", "no socket has a name"}, &Process::sys_getsockname},
      {SYS_getsockopt,
       {"getsockopt", "of sockets, without time-outs"},
       &Process::sys_getsockopt,
       ints(1, 2)},
      {SYS_setsockopt,
       {"setsockopt", "of sockets, without time-outs"},
       &Process::sys_setsockopt,
       ints(1, 2, 4)},
      {SYS_sendfile, {"sendfile", ""}, &Process::sys_sendfile},
      {SYS_copy_file_range, {"copy_file_range", ""}, &Process::sys_copy_file_range, ints(5)},
      {SYS_splice, {"splice", "at most 64 KiB at once"}, &Process::sys_splice, ints(5)},
      {SYS_tee, {"tee", "at most 64 KiB at once"}, &Process::sys_tee, ints(3)},
      {SYS_open, {"open", ""}, &Process::sys_open, ints(1, 2)},
      {SYS_openat, {"openat", ""}, &Process::sys_openat, ints(0, 2, 3)},
      {SYS_creat, {"creat", ""}, &Process::sys_creat, ints(1)},
      {SYS_close, {"close", ""}, &Process::sys_close},
      {SYS_close_range, {"close_range", ""}, &Process::sys_close_range, ints(0, 1, 2)},
      {SYS_lseek, {"lseek", ""}, &Process::sys_lseek, ints(2)},
      {SYS_getdents64, {"getdents64", ""}, &Process::sys_getdents64, ints(2)},
      {SYS_dup, {"dup", ""}, &Process::sys_dup},
      {SYS_dup2, {"dup2", ""}, &Process::sys_dup2, ints(0, 1)},
      {SYS_dup3, {"dup3", ""}, &Process::sys_dup3, ints(0, 1, 2)},
      {SYS_fcntl,
       {"fcntl", "descriptors, flags, locks within the program; none of open files (OFD)"},
       &Process::sys_fcntl,
       ints(0, 1)},
      {SYS_flock, {"flock", "within the program"}, &Process::sys_flock, ints(1)},
      {SYS_ioctl,
       {"ioctl", "terminals as one session of one process"},
       &Process::sys_ioctl,
       ints(1)},
      {SYS_pipe,
       {"pipe", "within the program; what would wait for ever is EDEADLK"},
       &Process::sys_pipe},
      {SYS_pipe2,
       {"pipe2", "within the program; what would wait for ever is EDEADLK"},
       &Process::sys_pipe2,
       ints(1)},
      {SYS_poll, {"poll", ""}, &Process::sys_poll, ints(1, 2)},
      {SYS_ppoll, {"ppoll", ""}, &Process::sys_ppoll, ints(1)},
      {SYS_select, {"select", ""}, &Process::sys_select, ints(0)},
      {SYS_pselect6, {"pselect6", ""}, &Process::sys_pselect6, ints(0)},

      {SYS_eventfd, {"eventfd", ""}, &Process::sys_eventfd, ints(0)},
      {SYS_eventfd2, {"eventfd2", ""}, &Process::sys_eventfd2, ints(0, 1)},
      {SYS_timerfd_create,
       {"timerfd_create", "clocks that wake nobody"},
       &Process::sys_timerfd_create,
       ints(0, 1)},
      {SYS_timerfd_settime,
       {"timerfd_settime", "nobody sets the clock"},
       &Process::sys_timerfd_settime,
       ints(0, 1)},
      {SYS_timerfd_gettime, {"timerfd_gettime", ""}, &Process::sys_timerfd_gettime},
      {SYS_signalfd, {"signalfd", ""}, &Process::sys_signalfd, ints(0)},
      {SYS_signalfd4, {"signalfd4", ""}, &Process::sys_signalfd4, ints(0, 3)},
      {SYS_memfd_create, {"memfd_create", "no huge pages"}, &Process::sys_memfd_create, ints(1)},
      {SYS_epoll_create, {"epoll_create", ""}, &Process::sys_epoll_create},
      {SYS_epoll_create1, {"epoll_create1", ""}, &Process::sys_epoll_create1, ints(0)},
      {SYS_epoll_ctl, {"epoll_ctl", ""}, &Process::sys_epoll_ctl, ints(0, 1, 2)},
      {SYS_epoll_wait, {"epoll_wait", ""}, &Process::sys_epoll_wait, ints(0, 2, 3)},
      {SYS_epoll_pwait, {"epoll_pwait", ""}, &Process::sys_epoll_pwait, ints(0, 2, 3)},
      {SYS_epoll_pwait2, {"epoll_pwait2", ""}, &Process::sys_epoll_pwait2, ints(0, 2)},

      {SYS_stat, {"stat", ""}, &Process::sys_stat},
      {SYS_lstat, {"lstat", ""}, &Process::sys_lstat},
      {SYS_fstat, {"fstat", ""}, &Process::sys_fstat},
      {SYS_newfstatat, {"newfstatat", ""}, &Process::sys_newfstatat, ints(0, 3)},
      {SYS_statx, {"statx", "basic fields"}, &Process::sys_statx, ints(0, 2, 3)},
      {SYS_access, {"access", ""}, &Process::sys_access, ints(1)},
      {SYS_faccessat, {"faccessat", ""}, &Process::sys_faccessat, ints(0, 2)},
      {SYS_faccessat2, {"faccessat2", ""}, &Process::sys_faccessat, ints(0, 2, 3)},
      {SYS_readlink, {"readlink", ""}, &Process::sys_readlink, ints(2)},
      {SYS_readlinkat, {"readlinkat", ""}, &Process::sys_readlinkat, ints(0, 3)},
      {SYS_getxattr, {"getxattr", "no file has any"}, &Process::sys_getxattr},
      {SYS_lgetxattr, {"lgetxattr", "no file has any"}, &Process::sys_lgetxattr},
      {SYS_fgetxattr, {"fgetxattr", "no file has any"}, &Process::sys_fgetxattr},
      {SYS_listxattr, {"listxattr", "no file has any"}, &Process::sys_listxattr},
      {SYS_llistxattr, {"llistxattr", "no file has any"}, &Process::sys_llistxattr},
      {SYS_flistxattr, {"flistxattr", "no file has any"}, &Process::sys_flistxattr},
      {SYS_setxattr, {"setxattr", "no file can have any"}, &Process::sys_setxattr},
      {SYS_lsetxattr, {"lsetxattr", "no file can have any"}, &Process::sys_lsetxattr},
      {SYS_fsetxattr, {"fsetxattr", "no file can have any"}, &Process::sys_fsetxattr},
      {SYS_getcwd, {"getcwd", ""}, &Process::sys_getcwd},
      {SYS_chdir, {"chdir", ""}, &Process::sys_chdir},
      {SYS_fchdir, {"fchdir", ""}, &Process::sys_fchdir},
      {SYS_statfs, {"statfs", ""}, &Process::sys_statfs},
      {SYS_fstatfs, {"fstatfs", ""}, &Process::sys_fstatfs},

      {SYS_mkdir, {"mkdir", ""}, &Process::sys_mkdir, ints(1)},
      {SYS_mkdirat, {"mkdirat", ""}, &Process::sys_mkdirat, ints(0, 2)},
      {SYS_unlink, {"unlink", ""}, &Process::sys_unlink},
      {SYS_rmdir, {"rmdir", ""}, &Process::sys_rmdir},
      {SYS_unlinkat, {"unlinkat", ""}, &Process::sys_unlinkat, ints(0, 2)},
      {SYS_rename, {"rename", ""}, &Process::sys_rename},
      {SYS_renameat, {"renameat", ""}, &Process::sys_renameat, ints(0, 2)},
      {SYS_renameat2, {"renameat2", "no whiteouts"}, &Process::sys_renameat2, ints(0, 2, 4)},
      {SYS_link, {"link", ""}, &Process::sys_link},
      {SYS_linkat, {"linkat", ""}, &Process::sys_linkat, ints(0, 2, 4)},
      {SYS_symlink, {"symlink", ""}, &Process::sys_symlink},
      {SYS_symlinkat, {"symlinkat", ""}, &Process::sys_symlinkat, ints(1)},
      {SYS_truncate, {"truncate", ""}, &Process::sys_truncate},
      {SYS_ftruncate, {"ftruncate", ""}, &Process::sys_ftruncate},
      {SYS_fallocate,
       {"fallocate", "allocating, holes, zeroing"},
       &Process::sys_fallocate,
       ints(1)},
      {SYS_fsync, {"fsync", ""}, &Process::sys_fsync},
      {SYS_fdatasync, {"fdatasync", ""}, &Process::sys_fsync},
      {SYS_sync_file_range,
       {"sync_file_range", "the whole file, and as much as fsync"},
       &Process::sys_sync_file_range,
       ints(3)},
      {SYS_sync, {"sync", "what the program has open"}, &Process::sys_sync},
      {SYS_syncfs, {"syncfs", "what the program has open"}, &Process::sys_syncfs},
      {SYS_chmod, {"chmod", ""}, &Process::sys_chmod, ints(1)},
      {SYS_fchmod, {"fchmod", ""}, &Process::sys_fchmod, ints(1)},
      {SYS_fchmodat, {"fchmodat", ""}, &Process::sys_fchmodat, ints(0, 2)},
      {SYS_chown, {"chown", ""}, &Process::sys_chown, ints(1, 2)},
      {SYS_lchown, {"lchown", ""}, &Process::sys_lchown, ints(1, 2)},
      {SYS_fchown, {"fchown", ""}, &Process::sys_fchown, ints(1, 2)},
      {SYS_fchownat, {"fchownat", ""}, &Process::sys_fchownat, ints(0, 2, 3, 4)},
      {SYS_utime, {"utime", ""}, &Process::sys_utime},
      {SYS_utimes, {"utimes", ""}, &Process::sys_utimes},
      {SYS_utimensat, {"utimensat", ""}, &Process::sys_utimensat, ints(0, 3)},

      {SYS_exit, {"exit", ""}, &Process::sys_exit, ints(0)},
      {SYS_clone, {"clone", "threads; no processes"}, &Process::sys_clone},
      {SYS_clone3, {"clone3", "threads; no processes"}, &Process::sys_clone3},
      {SYS_execve, {"execve", "in this process; there are no others"}, &Process::sys_execve},
      {SYS_execveat, {"execveat", "open files by their names"}, &Process::sys_execveat, ints(0, 4)},
      {SYS_exit_group, {"exit_group", ""}, &Process::sys_exit_group, ints(0)},
      {SYS_getpid, {"getpid", ""}, &Process::sys_getpid},
      {SYS_gettid, {"gettid", ""}, &Process::sys_gettid},
      {SYS_set_tid_address, {"set_tid_address", ""}, &Process::sys_set_tid_address},
      {SYS_getppid, {"getppid", ""}, &Process::sys_getppid},
      {SYS_getpgrp, {"getpgrp", ""}, &Process::sys_getpid},
      {SYS_getuid, {"getuid", ""}, &Process::sys_getuid},
      {SYS_geteuid, {"geteuid", ""}, &Process::sys_geteuid},
      {SYS_getgid, {"getgid", ""}, &Process::sys_getgid},
      {SYS_getegid, {"getegid", ""}, &Process::sys_getegid},
      {SYS_setuid, {"setuid", ""}, &Process::sys_setuid},
      {SYS_setgid, {"setgid", ""}, &Process::sys_setgid},
      {SYS_setreuid, {"setreuid", ""}, &Process::sys_setreuid},
      {SYS_setregid, {"setregid", ""}, &Process::sys_setregid},
      {SYS_setresuid, {"setresuid", ""}, &Process::sys_setresuid},
      {SYS_setresgid, {"setresgid", ""}, &Process::sys_setresgid},
      {SYS_setfsuid, {"setfsuid", ""}, &Process::sys_setfsuid},
      {SYS_setfsgid, {"setfsgid", ""}, &Process::sys_setfsgid},
      {SYS_getresuid, {"getresuid", ""}, &Process::sys_getresuid},
      {SYS_getresgid, {"getresgid", ""}, &Process::sys_getresgid},
      {SYS_getgroups, {"getgroups", ""}, &Process::sys_getgroups},
      {SYS_setgroups, {"setgroups", ""}, &Process::sys_setgroups},
      {SYS_capget, {"capget", "of itself"}, &Process::sys_capget},
      {SYS_capset, {"capset", "of itself"}, &Process::sys_capset},
      {SYS_getpgid, {"getpgid", "a session of one process"}, &Process::sys_getpgid},
      {SYS_getsid, {"getsid", "the same"}, &Process::sys_getpgid},
      {SYS_setpgid,
       {"setpgid", "the same: its leader stays in its group, EPERM"},
       &Process::sys_setpgid},
      {SYS_setsid, {"setsid", "the same: EPERM"}, &Process::sys_not_permitted},
      {SYS_prctl,
       {"prctl", "names, death signal, dumpable, capabilities, no new privileges, timer slack: "
                 "kept and given back"},
       &Process::sys_prctl,
       ints(0)},
      {SYS_personality, {"personality", "kept and given back"}, &Process::sys_personality},
      {SYS_sethostname,
       {"sethostname", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_setdomainname,
       {"setdomainname", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_settimeofday,
       {"settimeofday", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_clock_settime,
       {"clock_settime", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_mount,
       {"mount", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_umount2,
       {"umount2", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_pivot_root,
       {"pivot_root", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_chroot,
       {"chroot", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_swapon,
       {"swapon", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_swapoff,
       {"swapoff", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_reboot,
       {"reboot", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_init_module,
       {"init_module", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_finit_module,
       {"finit_module", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_delete_module,
       {"delete_module", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_acct,
       {"acct", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_iopl,
       {"iopl", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_ioperm,
       {"ioperm", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_vhangup,
       {"vhangup", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_syslog,
       {"syslog", "EPERM: no program in a guest has the right"},
       &Process::sys_not_permitted},
      {SYS_wait4, {"wait4", "there are no children: ECHILD"}, &Process::sys_wait4, ints(0, 2)},
      {SYS_waitid, {"waitid", "the same"}, &Process::sys_waitid, ints(0, 1, 3)},
      {SYS_arch_prctl, {"arch_prctl", ""}, &Process::sys_arch_prctl, ints(0)},
      {SYS_uname, {"uname", ""}, &Process::sys_uname},
      {SYS_prlimit64,
       {"prlimit64", "reads limits; none can be changed"},
       &Process::sys_prlimit64,
       ints(0, 1)},
      {SYS_getrlimit, {"getrlimit", ""}, &Process::sys_getrlimit, ints(0)},
      {SYS_setrlimit, {"setrlimit", "the same as it is"}, &Process::sys_setrlimit, ints(0)},
      {SYS_sysinfo, {"sysinfo", ""}, &Process::sys_sysinfo},
      {SYS_getrandom, {"getrandom", ""}, &Process::sys_getrandom, ints(2)},
      {SYS_rt_sigaction, {"rt_sigaction", ""}, &Process::sys_rt_sigaction, ints(0)},
      {SYS_rt_sigprocmask, {"rt_sigprocmask", ""}, &Process::sys_rt_sigprocmask, ints(0)},
      {SYS_rt_sigpending, {"rt_sigpending", ""}, &Process::sys_rt_sigpending},
      {SYS_pause, {"pause", ""}, &Process::sys_pause},
      {SYS_rt_sigsuspend, {"rt_sigsuspend", ""}, &Process::sys_rt_sigsuspend},
      {SYS_rt_sigreturn, {"rt_sigreturn", ""}, &Process::sys_rt_sigreturn},
      {SYS_sigaltstack, {"sigaltstack", "no SS_AUTODISARM"}, &Process::sys_sigaltstack},
      {SYS_kill, {"kill", "to itself"}, &Process::sys_kill, ints(0, 1)},
      {SYS_tkill, {"tkill", "to itself"}, &Process::sys_tkill, ints(0, 1)},
      {SYS_tgkill, {"tgkill", "to itself"}, &Process::sys_tgkill, ints(0, 1, 2)},
      {SYS_rt_sigqueueinfo, {"rt_sigqueueinfo", "to itself"}, &Process::sys_rt_sigqueueinfo},
      {SYS_rt_tgsigqueueinfo, {"rt_tgsigqueueinfo", "to itself"}, &Process::sys_rt_tgsigqueueinfo},
      {SYS_rt_sigtimedwait, {"rt_sigtimedwait", ""}, &Process::sys_rt_sigtimedwait},
      {SYS_futex,
       {"futex", "no WAIT_REQUEUE_PI; what the only thread would wait for for ever is EDEADLK"},
       &Process::sys_futex,
       ints(1, 2, 5)},
      {SYS_sched_getaffinity,
       {"sched_getaffinity", "one vCPU"},
       &Process::sys_sched_getaffinity,
       ints(0, 1)},
      {SYS_getcpu, {"getcpu", "always the first"}, &Process::sys_getcpu},
      {SYS_sched_setaffinity,
       {"sched_setaffinity", "any set with the first vCPU in it"},
       &Process::sys_sched_setaffinity},
      {SYS_sched_getscheduler,
       {"sched_getscheduler", ""},
       &Process::sys_sched_getscheduler,
       ints(0)},
      {SYS_sched_setscheduler,
       {"sched_setscheduler", "kept; none for real time: EPERM"},
       &Process::sys_sched_setscheduler,
       ints(0, 1)},
      {SYS_sched_getparam, {"sched_getparam", ""}, &Process::sys_sched_getparam, ints(0)},
      {SYS_sched_setparam, {"sched_setparam", "the same"}, &Process::sys_sched_setparam, ints(0)},
      {SYS_sched_get_priority_max,
       {"sched_get_priority_max", ""},
       &Process::sys_sched_get_priority_max,
       ints(0)},
      {SYS_sched_get_priority_min,
       {"sched_get_priority_min", ""},
       &Process::sys_sched_get_priority_min,
       ints(0)},
      {SYS_sched_rr_get_interval,
       {"sched_rr_get_interval", ""},
       &Process::sys_sched_rr_get_interval,
       ints(0)},
      {SYS_ioprio_get, {"ioprio_get", ""}, &Process::sys_ioprio_get, ints(0, 1)},
      {SYS_ioprio_set, {"ioprio_set", "kept"}, &Process::sys_ioprio_set, ints(0, 1, 2)},
      {SYS_membarrier,
       {"membarrier", "on one vCPU, where nothing is to be done"},
       &Process::sys_membarrier,
       ints(0, 1)},
      {SYS_sched_yield, {"sched_yield", ""}, &Process::sys_sched_yield},
      {SYS_getrusage,
       {"getrusage", "used time is that without waiting"},
       &Process::sys_getrusage,
       ints(0)},
      {SYS_getpriority, {"getpriority", "always the same"}, &Process::sys_getpriority, ints(0, 1)},
      {SYS_setpriority, {"setpriority", "has no effect"}, &Process::sys_nothing, ints(0, 1, 2)},
      {SYS_umask, {"umask", ""}, &Process::sys_umask, ints(0)},
      {SYS_set_robust_list, {"set_robust_list", ""}, &Process::sys_set_robust_list},
      {SYS_get_robust_list, {"get_robust_list", ""}, &Process::sys_get_robust_list, ints(0)},

      {SYS_clock_gettime,
       {"clock_gettime", "used time is that without waiting"},
       &Process::sys_clock_gettime,
       ints(0)},
      {SYS_clock_getres, {"clock_getres", ""}, &Process::sys_clock_getres, ints(0)},
      {SYS_gettimeofday, {"gettimeofday", ""}, &Process::sys_gettimeofday},
      {SYS_time, {"time", ""}, &Process::sys_time},
      {SYS_times, {"times", "used time is that without waiting"}, &Process::sys_times},
      {SYS_alarm, {"alarm", ""}, &Process::sys_alarm},
      {SYS_setitimer, {"setitimer", ""}, &Process::sys_setitimer},
      {SYS_getitimer, {"getitimer", ""}, &Process::sys_getitimer},
      {SYS_timer_create, {"timer_create", "signals"}, &Process::sys_timer_create},
      {SYS_timer_settime, {"timer_settime", ""}, &Process::sys_timer_settime},
      {SYS_timer_gettime, {"timer_gettime", ""}, &Process::sys_timer_gettime},
      {SYS_timer_getoverrun, {"timer_getoverrun", ""}, &Process::sys_timer_getoverrun},
      {SYS_timer_delete, {"timer_delete", ""}, &Process::sys_timer_delete},
      {SYS_nanosleep, {"nanosleep", ""}, &Process::sys_nanosleep},
      {SYS_clock_nanosleep, {"clock_nanosleep", ""}, &Process::sys_clock_nanosleep, ints(0, 1)},
  });

  struct Entry {
    Handler handler;
    std::uint8_t narrow;
  };
  static constexpr auto entries = [] {
    std::array<Entry, abi::program_calls> all{};
    for (const Row& row : rows) {
      all[static_cast<std::size_t>(row.number)] = {row.handler, row.narrow};
    }
    return all;
  }();
};

namespace {

// Whether a call may make a file ready that another thread waits for: all but those that are made
// often and have nothing to do with files.
constexpr bool may_make_ready(std::uint64_t number) {
  switch (number) {
  case SYS_futex:
  case SYS_sched_yield:
  case SYS_gettid:
  case SYS_getpid:
  case SYS_clock_gettime:
  case SYS_gettimeofday:
  case SYS_mmap:
  case SYS_munmap:
  case SYS_mprotect:
  case SYS_madvise:
  case SYS_brk:
  case SYS_rt_sigprocmask:
  case SYS_rt_sigaction:
    return false;
  default:
    return true;
  }
}

} // namespace

std::span<const SupportedCall> supported_calls() {
  static constexpr auto calls = [] {
    std::array<SupportedCall, CallTable::rows.size()> all{};
    std::ranges::transform(CallTable::rows, all.begin(), &CallTable::Row::call);
    return all;
  }();
  return calls;
}

Answer Process::missing(std::uint64_t call) {
  start_.missing[call / 64] |= std::uint64_t{1} << (call % 64);
  return -ENOSYS;
}

Answer Process::answer(const Call& call) {
  if (call.number >= abi::program_calls) {
    return -ENOSYS;
  }
  ++start_.calls[call.number];
  if (const CallTable::Entry entry = CallTable::entries[call.number]; entry.handler != nullptr) {
    Args args = call.args;
    caller_stack_ = call.stack;
    for (unsigned left = entry.narrow; left != 0; left &= left - 1) {
      args[static_cast<std::size_t>(std::countr_zero(left))] &= 0xffffffff;
    }
    const Answer answer = (this->*entry.handler)(args);
    Thread& thread = scheduler_.running();
    if (!thread.held.empty()) {
      thread.held.clear();
    }
    if (scheduler_.has_watchers() && may_make_ready(call.number)) {
      scheduler_.wake_watchers();
    }
    if (ends_in_order_ || !contents_.is_empty()) {
      tend_files();
    }
    if (answer != restart) {
      return answer;
    }
    thread.interrupted = call.number;
    return -EINTR;
  }
  return missing(call.number);
}

} // namespace guest::linux
