// SPDX-License-Identifier: MIT
// What the sandbox forbids is tried by children of this process, and has to end them.
#include "vmm/sandbox/sandbox.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>

#include "tests/support/child.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/io/replaced_file.hpp"
#include "vmm/kvm/kvm_api.hpp"
#include "vmm/memory/page_scan.hpp"
#include "vmm/sandbox/landlock.hpp"
#include "vmm/sandbox/privileges.hpp"

using namespace vmm;

namespace {

using test_support::child;

constexpr int survived = 7;
constexpr FeatureSet no_features;
constexpr std::array all_kinds{ThreadKind::main,     ThreadKind::vcpu,    ThreadKind::worker,
                               ThreadKind::sampler,  ThreadKind::control, ThreadKind::trace,
                               ThreadKind::debugger, ThreadKind::metrics, ThreadKind::pressure};

struct Attempt {
  const char* name;
  std::function<void()> make;
};

// A child under the filter of `kind`.
int confined(ThreadKind kind, FeatureSet features, const std::function<void()>& what) {
  return child([&] {
    const auto filter =
        SeccompFilter::compile(syscall_rules(kind, features, ::getpid()), Violation::kill);
    if (!filter || !forbid_new_privileges() || !filter->install()) {
      return 1;
    }
    what();
    return survived;
  });
}

void call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  static_cast<void>(::syscall(number, a, b, c, d, e, f));
}

Attempt try_ioctl(const char* name, unsigned long request) {
  return {name, [request] { call(SYS_ioctl, -1, static_cast<long>(request)); }};
}

// Things that no thread of a running vmm may do.
const std::vector<Attempt>& forbidden() {
  constexpr long exec = PROT_READ | PROT_EXEC;
  static const char* const path = "/etc/passwd";
  static const std::vector<Attempt> attempts{
      {"open a file", [] { call(SYS_open, reinterpret_cast<long>(path)); }},
      {"open a file relative to a folder",
       [] { call(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path)); }},
      {"open a file, by the newest call",
       [] { call(SYS_openat2, AT_FDCWD, reinterpret_cast<long>(path)); }},
      {"make a file", [] { call(SYS_creat, reinterpret_cast<long>("/tmp/ebb-sandbox"), 0600); }},
      {"run a program", [] { call(SYS_execve, reinterpret_cast<long>("/bin/true")); }},
      {"run a program by descriptor", [] { call(SYS_execveat, 0, 0, 0, 0, AT_EMPTY_PATH); }},
      {"make a socket", [] { call(SYS_socket, AF_INET, SOCK_STREAM); }},
      {"connect", [] { call(SYS_connect, -1); }},
      {"listen", [] { call(SYS_listen, -1); }},
      {"pass a descriptor", [] { call(SYS_sendmsg, -1); }},
      {"receive a descriptor", [] { call(SYS_recvmsg, -1); }},
      {"trace a process", [] { call(SYS_ptrace, 0); }},
      {"read another process's memory", [] { call(SYS_process_vm_readv, 1); }},
      {"write another process's memory", [] { call(SYS_process_vm_writev, 1); }},
      {"get at another process", [] { call(SYS_pidfd_open, 1); }},
      {"take another process's descriptor", [] { call(SYS_pidfd_getfd, -1); }},
      {"signal a process", [] { call(SYS_kill, ::getppid(), 0); }},
      {"signal a thread of another process", [] { call(SYS_tgkill, ::getppid(), ::getppid(), 0); }},
      {"map executable memory",
       [] { call(SYS_mmap, 0, 4096, exec, MAP_PRIVATE | MAP_ANONYMOUS, -1); }},
      {"map a file", [] { call(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, 0); }},
      {"map shared memory",
       [] { call(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1); }},
      {"make memory executable", [] { call(SYS_mprotect, 0, 4096, exec); }},
      {"make memory executable, by key", [] { call(SYS_pkey_mprotect, 0, 4096, exec, -1); }},
      {"make a thread", [] { call(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD); }},
      {"make a thread, by the newest call", [] { call(SYS_clone3); }},
      {"make a process", [] { call(SYS_fork); }},
      {"change the user", [] { call(SYS_setuid, 0); }},
      {"set capabilities", [] { call(SYS_capset); }},
      {"set a thread's attributes", [] { call(SYS_prctl); }},
      {"make another filter", [] { call(SYS_seccomp); }},
      {"make a namespace", [] { call(SYS_unshare); }},
      {"mount", [] { call(SYS_mount); }},
      {"change the root", [] { call(SYS_chroot); }},
      {"load a module", [] { call(SYS_init_module); }},
      {"use bpf", [] { call(SYS_bpf); }},
      {"use io_uring", [] { call(SYS_io_uring_setup); }},
      {"use userfaultfd", [] { call(SYS_userfaultfd); }},
      {"use perf", [] { call(SYS_perf_event_open); }},
      {"use keys", [] { call(SYS_keyctl); }},
      {"raise a limit", [] { call(SYS_setrlimit, RLIMIT_CORE); }},
      {"raise a limit, by the other call", [] { call(SYS_prlimit64); }},
      {"duplicate a descriptor", [] { call(SYS_dup, 0); }},
      {"put a descriptor in another's place", [] { call(SYS_dup2, 0, 1); }},
      {"make a file in memory", [] { call(SYS_memfd_create, reinterpret_cast<long>("x")); }},
      {"make a file larger", [] { call(SYS_fallocate, -1, FALLOC_FL_ZERO_RANGE); }},
      {"lock memory", [] { call(SYS_mlockall); }},
      {"handle a signal", [] { call(SYS_rt_sigaction); }},
      {"reboot", [] { call(SYS_reboot); }},
      {"call by the x32 table", [] { call(0x40000000 | SYS_getpid); }},
      try_ioctl("make a virtual machine", KVM_CREATE_VM),
      try_ioctl("make a vCPU", KVM_CREATE_VCPU),
      try_ioctl("set model specific registers", KVM_SET_MSRS),
      try_ioctl("make a KVM device", KVM_CREATE_DEVICE),
      try_ioctl("type into the terminal", TIOCSTI)};
  return attempts;
}

// Things that an ordinary run does.
std::vector<Attempt> allowed(ThreadKind kind) {
  std::vector<Attempt> attempts{
      {"map memory",
       [] { call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1); }},
      {"release memory", [] { call(SYS_madvise, 0, 4096, MADV_DONTNEED); }},
      {"wait", [] { call(SYS_futex); }},
      {"look at the clock", [] { call(SYS_clock_gettime); }},
      {"sleep", [] { call(SYS_clock_nanosleep); }},
      {"signal an own thread", [] { call(SYS_tgkill, ::getpid(), ::gettid(), 0); }},
      {"write", [] { call(SYS_write, -1); }}};
  const auto add = [&](const char* name, long number, long a = -1, long b = 0, long c = 0,
                       long d = 0) {
    attempts.push_back({name, [=] { call(number, a, b, c, d); }});
  };
  const bool discards = kind == ThreadKind::vcpu || kind == ThreadKind::worker;
  if (discards) {
    add("discard", SYS_madvise, 0, 0, MADV_FREE);
    add("discard in one call", SYS_process_madvise, -1, 0, 0, MADV_DONTNEED);
    add("punch a hole", SYS_fallocate, -1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  }
  if (kind == ThreadKind::vcpu) {
    attempts.push_back(try_ioctl("run", KVM_RUN));
    attempts.push_back(try_ioctl("plug", KVM_SET_USER_MEMORY_REGION));
    add("look at the process's usage", SYS_getrusage, RUSAGE_SELF);
  }
  if (kind == ThreadKind::vcpu || kind == ThreadKind::sampler || kind == ThreadKind::main) {
    attempts.push_back(try_ioctl("measure", page_scan_request));
  }
  if (kind == ThreadKind::trace) {
    add("make the trace longer", SYS_fallocate, -1, 0);
  }
  if (kind == ThreadKind::control) {
    add("take a client", SYS_accept4);
  }
  return attempts;
}

} // namespace

TEST_CASE("no thread of the sandbox may do what a running vmm has no use for") {
  // Each attempt costs a process: all of them by the thread that a hostile guest meets first, and
  // each by one of the others.
  const std::array others{ThreadKind::main,    ThreadKind::worker,  ThreadKind::sampler,
                          ThreadKind::control, ThreadKind::trace,   ThreadKind::debugger,
                          ThreadKind::metrics, ThreadKind::pressure};
  std::size_t turn = 0;
  for (const Attempt& attempt : forbidden()) {
    for (const ThreadKind kind : {ThreadKind::vcpu, others[turn++ % others.size()]}) {
      INFO(name_of(kind), ": ", attempt.name);
      CHECK(confined(kind, no_features, attempt.make) == -SIGSYS);
    }
  }
}

TEST_CASE("rules without a condition are few, and for calls that need none") {
  // Whatever takes a path, makes a thread or a descriptor, or reaches another process is not here.
  const std::set<int> harmless{
      SYS_futex,     SYS_clock_gettime, SYS_clock_nanosleep, SYS_sched_yield, SYS_restart_syscall,
      SYS_brk,       SYS_rt_sigreturn,  SYS_rt_sigprocmask,  SYS_munmap,      SYS_write,
      SYS_exit,      SYS_exit_group,    SYS_getpid,          SYS_gettid,      SYS_poll,
      SYS_ppoll,     SYS_read,          SYS_close,           SYS_pread64,     SYS_fstat,
      SYS_accept4,   SYS_recvfrom,      SYS_sendto,          SYS_epoll_wait,  SYS_epoll_pwait,
      SYS_ftruncate, SYS_shutdown,      SYS_getsockname,     SYS_getpeername};
  std::vector<ThreadKind> kinds(all_kinds.begin(), all_kinds.end());
  kinds.push_back(ThreadKind::sockets);
  for (const ThreadKind kind : kinds) {
    for (const SyscallRule& rule : syscall_rules(kind, no_features, 1)) {
      INFO(name_of(kind), ": ", rule.number);
      CHECK((!rule.tests.empty() || harmless.contains(rule.number)));
    }
  }
}

TEST_CASE("threads may do what their work needs") {
  for (const ThreadKind kind : all_kinds) {
    for (const Attempt& attempt : allowed(kind)) {
      INFO(name_of(kind), ": ", attempt.name);
      CHECK(confined(kind, no_features, attempt.make) == survived);
    }
  }
}

TEST_CASE("a kind of thread may not do what another one does") {
  const auto run = try_ioctl("run", KVM_RUN).make;
  const auto usage = [] { call(SYS_getrusage, RUSAGE_SELF); };
  for (const ThreadKind kind : {ThreadKind::main, ThreadKind::worker, ThreadKind::sampler,
                                ThreadKind::control, ThreadKind::trace, ThreadKind::debugger}) {
    CHECK(confined(kind, no_features, run) == -SIGSYS);
    CHECK(confined(kind, no_features, usage) == -SIGSYS);
  }
  CHECK(confined(ThreadKind::vcpu, no_features, [] { call(SYS_getrusage, RUSAGE_CHILDREN); }) ==
        -SIGSYS);
  for (const ThreadKind kind : {ThreadKind::main, ThreadKind::vcpu, ThreadKind::worker,
                                ThreadKind::sampler, ThreadKind::trace}) {
    CHECK(confined(kind, no_features, [] { call(SYS_accept4, -1); }) == -SIGSYS);
  }
  for (const ThreadKind kind : {ThreadKind::sampler, ThreadKind::control, ThreadKind::trace}) {
    CHECK(confined(kind, no_features, [] { call(SYS_process_madvise, -1, 0, 0, MADV_DONTNEED); }) ==
          -SIGSYS);
  }
}

TEST_CASE("an option adds what it needs, to the thread that needs it") {
  const auto unlink = [] { call(SYS_unlink, 0); };
  CHECK(confined(ThreadKind::main, no_features, unlink) == -SIGSYS);
  CHECK(confined(ThreadKind::main, {SandboxFeature::control_socket}, unlink) == survived);
  CHECK(confined(ThreadKind::main, {SandboxFeature::stats_file}, unlink) == survived);
  CHECK(confined(ThreadKind::vcpu, {SandboxFeature::stats_file}, unlink) == -SIGSYS);
  const auto set_registers = try_ioctl("set registers", KVM_SET_REGS).make;
  CHECK(confined(ThreadKind::vcpu, no_features, set_registers) == -SIGSYS);
  CHECK(confined(ThreadKind::vcpu, {SandboxFeature::debugger}, set_registers) == survived);
  CHECK(confined(ThreadKind::worker, {SandboxFeature::debugger}, set_registers) == -SIGSYS);
  const auto get_registers = try_ioctl("get registers", KVM_GET_REGS).make;
  CHECK(confined(ThreadKind::main, no_features, get_registers) == -SIGSYS);
  CHECK(confined(ThreadKind::main, {SandboxFeature::core_file}, get_registers) == survived);
  CHECK(confined(ThreadKind::main, {SandboxFeature::core_file}, set_registers) == -SIGSYS);
  CHECK(confined(ThreadKind::main, {SandboxFeature::core_file}, unlink) == survived);
  CHECK(confined(ThreadKind::worker, {SandboxFeature::core_file}, get_registers) == -SIGSYS);
  CHECK(confined(ThreadKind::debugger, no_features, unlink) == -SIGSYS);
  CHECK(confined(ThreadKind::debugger, {SandboxFeature::core_file}, unlink) == survived);
  const auto get_state = try_ioctl("get the state", KVM_GET_MP_STATE).make;
  const auto read_itself = [] { call(SYS_process_vm_readv, ::getpid()); };
  const auto delete_timer = [] { call(SYS_timer_delete, -1); };
  CHECK(confined(ThreadKind::vcpu, no_features, get_state) == -SIGSYS);
  CHECK(confined(ThreadKind::vcpu, {SandboxFeature::profile}, get_state) == survived);
  CHECK(confined(ThreadKind::vcpu, no_features, read_itself) == -SIGSYS);
  CHECK(confined(ThreadKind::vcpu, {SandboxFeature::profile}, read_itself) == survived);
  CHECK(confined(ThreadKind::vcpu, {SandboxFeature::profile},
                 [] { call(SYS_process_vm_readv, 1); }) == -SIGSYS);
  CHECK(confined(ThreadKind::vcpu, {SandboxFeature::profile}, set_registers) == -SIGSYS);
  CHECK(confined(ThreadKind::main, no_features, delete_timer) == -SIGSYS);
  CHECK(confined(ThreadKind::main, {SandboxFeature::profile}, delete_timer) == survived);
  CHECK(confined(ThreadKind::main, {SandboxFeature::profile}, unlink) == survived);
  const auto terminal = try_ioctl("set the terminal", TCSETS).make;
  CHECK(confined(ThreadKind::main, no_features, terminal) == -SIGSYS);
  CHECK(confined(ThreadKind::main, {SandboxFeature::terminal_input}, terminal) == survived);
}

TEST_CASE("a trace that begins later is its thread's, in a file that a client hands over") {
  constexpr FeatureSet at_once{SandboxFeature::trace};
  constexpr FeatureSet later{SandboxFeature::trace, SandboxFeature::control_socket,
                             SandboxFeature::trace_later};
  const auto map = [](long protection, long flags) {
    return [=] { call(SYS_mmap, 0, 4096, protection, flags); };
  };
  const std::vector<std::function<void()>> needed{
      map(PROT_READ | PROT_WRITE, MAP_SHARED),
      [] { call(SYS_pwrite64, -1, 0, 0, 0); },
      [] { call(SYS_pread64, -1, 0, 0, 0); },
      [] { call(SYS_flock, -1, LOCK_EX | LOCK_NB); },
      [] { call(SYS_fcntl, -1, F_GETFL); },
      [] { call(SYS_fallocate, -1, FALLOC_FL_KEEP_SIZE); },
      [] { call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, 0); }};
  for (const auto& attempt : needed) {
    CHECK(confined(ThreadKind::trace, later, attempt) == survived);
    CHECK(confined(ThreadKind::trace, at_once, attempt) == -SIGSYS);
    CHECK(confined(ThreadKind::control, later, attempt) == -SIGSYS);
  }
  const auto take_over = [] { call(SYS_recvmsg, -1, 0, 0); };
  CHECK(confined(ThreadKind::control, later, take_over) == survived);
  for (const ThreadKind kind : {ThreadKind::vcpu, ThreadKind::trace, ThreadKind::debugger}) {
    CHECK(confined(kind, later, take_over) == -SIGSYS);
  }
  const std::vector<std::function<void()>> still_forbidden{
      map(PROT_READ | PROT_EXEC, MAP_SHARED),
      map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED),
      map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED),
      [] { call(SYS_openat, -1, 0, O_RDWR); },
      [] { call(SYS_flock, -1, LOCK_EX); }, // would wait
      [] { call(SYS_fcntl, -1, F_SETFL); },
      [] { call(SYS_fallocate, -1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE); },
      [] { call(SYS_prlimit64, 0, RLIMIT_FSIZE, 1, 0); },
      [] { call(SYS_prlimit64, 1, RLIMIT_FSIZE, 0, 0); }};
  for (const auto& attempt : still_forbidden) {
    CHECK(confined(ThreadKind::trace, later, attempt) == -SIGSYS);
  }
}

TEST_CASE("only the thread of file calls may open files, and change them where something may be") {
  const auto open = [] { call(SYS_openat2, -1, 0, 0, 0); };
  const auto write = [] { call(SYS_pwrite64, -1, 0, 0, 0); };
  const auto remove = [] { call(SYS_unlinkat, -1, 0, 0); };
  constexpr FeatureSet reads{SandboxFeature::program};
  constexpr FeatureSet changes{SandboxFeature::program, SandboxFeature::program_changes_files};
  for (const ThreadKind kind : all_kinds) {
    CHECK(confined(kind, changes, open) == -SIGSYS);
    CHECK(confined(kind, changes, remove) == -SIGSYS);
  }
  CHECK(confined(ThreadKind::files, reads, open) == survived);
  CHECK(confined(ThreadKind::files, reads, write) == -SIGSYS);
  CHECK(confined(ThreadKind::files, reads, remove) == -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, write) == survived);
  CHECK(confined(ThreadKind::files, changes, remove) == survived);
  // Opening in the usual ways stays forbidden, which take no roots to stay beneath.
  CHECK(confined(ThreadKind::files, changes, [] { call(SYS_openat, -1, 0, 0); }) == -SIGSYS);
  // By a descriptor, never by a name that could lead on, and no devices.
  CHECK(confined(ThreadKind::files, changes,
                 [] { call(SYS_utimensat, -1, 0, 0, AT_EMPTY_PATH); }) == survived);
  CHECK(confined(ThreadKind::files, changes, [] { call(SYS_utimensat, -1, 0, 0, 0); }) == -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, [] { call(SYS_linkat, -1, 0, -1, 0); }) == survived);
  CHECK(confined(ThreadKind::files, changes,
                 [] { ::syscall(SYS_linkat, -1, 0, -1, 0, AT_SYMLINK_FOLLOW); }) == -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, [] { ::syscall(SYS_fchownat, -1, 0, 0, 0, 0); }) ==
        -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, [] { call(SYS_fchmodat, -1, 0, 0); }) == -SIGSYS);
  // That what is written is appended, and nothing else of a descriptor.
  const auto append = [] { ::syscall(SYS_fcntl, -1, F_SETFL, O_APPEND | O_NONBLOCK); };
  CHECK(confined(ThreadKind::files, changes, append) == survived);
  CHECK(confined(ThreadKind::files, reads, append) == -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, [] { ::syscall(SYS_fcntl, -1, F_SETFL, O_ASYNC); }) ==
        -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, [] { ::syscall(SYS_fcntl, -1, F_DUPFD, 0); }) ==
        -SIGSYS);
  CHECK(confined(ThreadKind::files, changes, [] { call(SYS_mknodat, -1, 0, 0); }) == -SIGSYS);
}

TEST_CASE("only the thread of socket calls may use sockets, and only as an option lets it") {
  constexpr FeatureSet none{SandboxFeature::program};
  constexpr FeatureSet listens{SandboxFeature::program, SandboxFeature::listen};
  constexpr FeatureSet connects{SandboxFeature::program, SandboxFeature::connect};
  constexpr FeatureSet both{SandboxFeature::program, SandboxFeature::listen,
                            SandboxFeature::connect};
  constexpr long type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const auto make = [](long family, long kind, long protocol = 0) {
    return [=] { ::syscall(SYS_socket, family, kind, protocol); };
  };
  const auto connect = [] { ::syscall(SYS_connect, -1, 0, 0); };
  const auto listen = [] { ::syscall(SYS_listen, -1, 0); };
  const auto accept = [] { ::syscall(SYS_accept4, -1, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC); };
  for (const ThreadKind kind : all_kinds) {
    CHECK(confined(kind, both, make(AF_INET, type)) == -SIGSYS);
    CHECK(confined(kind, both, connect) == -SIGSYS);
    CHECK(confined(kind, both, listen) == -SIGSYS);
  }
  const auto sockets = [](FeatureSet features, const auto& attempt) {
    return confined(ThreadKind::sockets, features, attempt);
  };
  for (const long family : {AF_INET, AF_INET6}) {
    CHECK(sockets(connects, make(family, type)) == survived);
    CHECK(sockets(listens, make(family, type)) == -SIGSYS);
  }
  CHECK(sockets(connects, connect) == survived);
  CHECK(sockets(listens, connect) == -SIGSYS);
  CHECK(sockets(listens, listen) == survived);
  CHECK(sockets(connects, listen) == -SIGSYS);
  CHECK(sockets(listens, accept) == survived);
  CHECK(sockets(connects, accept) == -SIGSYS);
  // No other kind of socket, and none without an end of its own.
  CHECK(sockets(both, make(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)) == -SIGSYS);
  CHECK(sockets(both, make(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC)) == -SIGSYS);
  CHECK(sockets(both, make(AF_INET, SOCK_STREAM)) == -SIGSYS); // it would wait
  CHECK(sockets(both, make(AF_INET, type, IPPROTO_MPTCP)) == -SIGSYS);
  CHECK(sockets(both, make(AF_UNIX, type)) == -SIGSYS);
  CHECK(sockets(both, make(AF_NETLINK, type)) == -SIGSYS);
  CHECK(sockets(both, make(AF_PACKET, type)) == -SIGSYS);
  CHECK(sockets(both, make(AF_VSOCK, type)) == -SIGSYS);
  CHECK(sockets(both, [] { ::syscall(SYS_socketpair, AF_UNIX, type, 0, 0); }) == -SIGSYS);
  CHECK(sockets(both, [] { ::syscall(SYS_bind, -1, 0, 0); }) == -SIGSYS);
  CHECK(sockets(both, [] { ::syscall(SYS_sendmsg, -1, 0, 0); }) == -SIGSYS);
  CHECK(sockets(both, [] { ::syscall(SYS_recvmsg, -1, 0, 0); }) == -SIGSYS);
  // What is sent goes where the socket is connected to, and at once.
  constexpr long at_once = MSG_DONTWAIT | MSG_NOSIGNAL;
  const auto send = [](long flags, long address) {
    return [=] { ::syscall(SYS_sendto, -1, 0, 0, flags, address, 0); };
  };
  CHECK(sockets(none, send(at_once, 0)) == survived);
  CHECK(sockets(none, send(at_once | MSG_MORE, 0)) == survived);
  CHECK(sockets(none, send(at_once, 4096)) == -SIGSYS);
  CHECK(sockets(none, send(0, 0)) == -SIGSYS);
  CHECK(sockets(none, send(at_once | MSG_FASTOPEN, 0)) == -SIGSYS);
  CHECK(sockets(none, [] { ::syscall(SYS_recvfrom, -1, 0, 0, MSG_DONTWAIT, 0, 0); }) == survived);
  CHECK(sockets(none, [] { ::syscall(SYS_recvfrom, -1, 0, 0, MSG_DONTWAIT, 4096, 0); }) == -SIGSYS);
  // Options one by one.
  const auto set = [](long level, long name) {
    return [=] { ::syscall(SYS_setsockopt, -1, level, name, 0, 0); };
  };
  CHECK(sockets(none, set(IPPROTO_TCP, TCP_NODELAY)) == survived);
  CHECK(sockets(none, set(SOL_SOCKET, SO_LINGER)) == survived);
  CHECK(sockets(none, set(SOL_SOCKET, SO_REUSEADDR)) == -SIGSYS);
  CHECK(sockets(listens, set(SOL_SOCKET, SO_REUSEADDR)) == survived);
  CHECK(sockets(both, set(SOL_SOCKET, SO_MARK)) == -SIGSYS);
  CHECK(sockets(both, set(SOL_SOCKET, SO_BINDTODEVICE)) == -SIGSYS);
  CHECK(sockets(both, set(SOL_SOCKET, SO_ATTACH_FILTER)) == -SIGSYS);
  CHECK(sockets(both, set(IPPROTO_IP, IP_TRANSPARENT)) == -SIGSYS);
  CHECK(sockets(both, set(IPPROTO_TCP, TCP_REPAIR)) == -SIGSYS);
  CHECK(sockets(both, [] { call(SYS_openat2, -1, 0, 0, 0); }) == -SIGSYS);
}

TEST_CASE("metrics are put in place as they must be, and nothing else is opened") {
  std::string folder = "/tmp/ebb-metrics-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/m";
  std::ofstream(folder + "/other") << "x";
  static constexpr FeatureSet file{SandboxFeature::metrics_file};
  const auto put = [&path](const std::vector<std::string>& folders) {
    return confined(ThreadKind::metrics, file, [] {}) == survived &&
           child([&] {
             const auto output = ReplacedFile::create("--metrics", path);
             const auto filter = SeccompFilter::compile(
                 syscall_rules(ThreadKind::metrics, file, ::getpid()), Violation::kill);
             if (!output || !filter || !forbid_new_privileges() ||
                 (landlock_version() > 0 && !confine_by_landlock({.replace = folders})) ||
                 !filter->install()) {
               return 1;
             }
             return output->put("1") && output->put("2") ? survived : 2;
           }) == survived;
  };
  CHECK(put({folder}));
  std::string content;
  std::ifstream(path) >> content;
  CHECK(content == "2");
  if (landlock_version() > 0) {
    CHECK_FALSE(put({}));
  }
  const std::string other = folder + "/other";
  for (const long flags : {O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC, O_CREAT | O_WRONLY}) {
    CHECK(confined(ThreadKind::metrics, file, [&] {
            ::syscall(SYS_openat, AT_FDCWD, other.c_str(), flags, 0600);
          }) == -SIGSYS);
  }
  const auto accept = [] { ::syscall(SYS_accept4, -1, 0, 0, 0); };
  const auto rename = [] { call(SYS_rename, 0, 0); };
  CHECK(confined(ThreadKind::metrics, file, accept) == -SIGSYS);
  CHECK(confined(ThreadKind::metrics, {SandboxFeature::metrics_socket}, accept) == survived);
  CHECK(confined(ThreadKind::metrics, {SandboxFeature::metrics_socket}, rename) == -SIGSYS);
  CHECK(confined(ThreadKind::metrics, {SandboxFeature::metrics_lines}, rename) == -SIGSYS);
  std::filesystem::remove_all(folder);
}
