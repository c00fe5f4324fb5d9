// SPDX-License-Identifier: MIT
#include "vmm/sandbox/syscall_rules.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "vmm/io/replaced_file.hpp"
#include "vmm/kvm/kvm_api.hpp"
#include "vmm/memory/page_scan.hpp"
#include "vmm/sockets/socket_options.hpp"

namespace vmm {
namespace {

// linux/mman.h of 5.14.
constexpr int populate_write = 23;
// Linux 6.6.
constexpr int fchmodat2_number = 452;

constexpr std::array<std::string_view, thread_kinds> kind_names{
    "main",     "vcpu",  "worker",  "sampler", "control", "trace",
    "debugger", "files", "sockets", "metrics", "pressure"};

class Rules {
 public:
  void allow(std::initializer_list<int> numbers) {
    for (const int number : numbers) {
      rules_.push_back({number, {}});
    }
  }
  void allow_if(int number, std::vector<ArgumentTest> tests) {
    rules_.push_back({number, std::move(tests)});
  }
  void allow_ioctl(std::initializer_list<unsigned long> requests) {
    for (const unsigned long request : requests) {
      allow_if(SYS_ioctl, {{.index = 1, .value = request}});
    }
  }
  void allow_advice(std::initializer_list<int> advices) {
    for (const int advice : advices) {
      allow_if(SYS_madvise, {{.index = 2, .value = static_cast<std::uint64_t>(advice)}});
    }
  }
  [[nodiscard]] std::vector<SyscallRule> take() { return std::move(rules_); }

 private:
  std::vector<SyscallRule> rules_;
};

// Memory of the C library's allocator, waiting, the end of a thread, and what it takes to die of a
// failed assertion with its message.
void add_common(Rules& rules, int process) {
  rules.allow({SYS_futex, SYS_clock_gettime, SYS_clock_nanosleep, SYS_sched_yield,
               SYS_restart_syscall, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_brk, SYS_munmap,
               SYS_write, SYS_exit, SYS_exit_group, SYS_getpid, SYS_gettid});
  rules.allow_if(
      SYS_mmap,
      {{.index = 2, .mask = PROT_EXEC, .value = 0},
       {.index = 3, .mask = MAP_ANONYMOUS | MAP_TYPE, .value = MAP_ANONYMOUS | MAP_PRIVATE}});
  rules.allow_if(SYS_mprotect, {{.index = 2, .mask = PROT_EXEC, .value = 0}});
  rules.allow_if(SYS_mremap, {{.index = 3, .value = MREMAP_MAYMOVE}});
  // A thread's stack at its end, the allocator's trimming; its growth where the environment tells
  // the C library to use huge pages (glibc.malloc.hugetlb).
  rules.allow_advice({MADV_DONTNEED, MADV_HUGEPAGE});
  rules.allow_if(SYS_tgkill, {{.index = 0, .value = static_cast<std::uint64_t>(process)}});
  rules.allow_if(SYS_writev, {{.index = 0, .value = STDERR_FILENO}});
}

// What goes back to the host; SelfPidfd has found the descriptor for process_madvise before.
void add_discards(Rules& rules) {
  constexpr std::uint64_t punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  rules.allow_advice({MADV_FREE});
  for (const int advice : {MADV_DONTNEED, MADV_FREE}) {
    rules.allow_if(SYS_process_madvise,
                   {{.index = 3, .value = static_cast<std::uint64_t>(advice)}});
  }
  rules.allow_if(SYS_fallocate, {{.index = 1, .value = punch}});
}

// A memory sample, by descriptors opened before.
void add_measuring(Rules& rules) {
  rules.allow({SYS_pread64, SYS_fstat});
  rules.allow_ioctl({page_scan_request});
}

// The same and what it shows; output waits for its reader.
void add_samples(Rules& rules) {
  add_measuring(rules);
  rules.allow({SYS_poll});
  rules.allow_ioctl({TIOCGWINSZ});
}

// The length of an open file: fstat, as newer C libraries call it, too.
void add_length(Rules& rules) {
  rules.allow({SYS_fstat});
  rules.allow_if(SYS_newfstatat, {{.index = 3, .value = AT_EMPTY_PATH}});
}

// What is left of a guest: its registers, its memory by parts, the file put into place.
void add_core(Rules& rules) {
  rules.allow_ioctl({KVM_GET_REGS, KVM_GET_SREGS, KVM_GET_FPU});
  rules.allow({SYS_lseek, SYS_pread64, SYS_pwrite64, SYS_ftruncate, SYS_newfstatat, SYS_linkat,
               SYS_rename, SYS_unlink});
}

void add_main(Rules& rules, FeatureSet features) {
  rules.allow({SYS_poll, SYS_ppoll, SYS_read, SYS_close});
  add_samples(rules);
  if (features.has(SandboxFeature::trace)) {
    rules.allow({SYS_ftruncate});
    add_length(rules);
  }
  if (features.has(SandboxFeature::control_socket) || features.has(SandboxFeature::debugger) ||
      features.has(SandboxFeature::metrics_socket)) {
    rules.allow({SYS_newfstatat, SYS_unlink});
  }
  if (features.has(SandboxFeature::core_file)) {
    add_core(rules);
  }
  if (features.has(SandboxFeature::profile)) {
    rules.allow({SYS_timer_delete});
  }
  if (features.has(SandboxFeature::stats_file) || features.has(SandboxFeature::profile)) {
    rules.allow({SYS_pwrite64, SYS_ftruncate, SYS_newfstatat, SYS_linkat, SYS_rename, SYS_unlink});
  }
}

// A debugger looks at memory by calls that fail where there is none; at this process's alone.
void add_own_memory(Rules& rules, int process) {
  for (const int number : {SYS_process_vm_readv, SYS_process_vm_writev}) {
    rules.allow_if(number, {{.index = 0, .value = static_cast<std::uint64_t>(process)}});
  }
}

void add_vcpu(Rules& rules, FeatureSet features, int process) {
  rules.allow({SYS_ppoll});
  // Plugging memory, binding the doorbells of a guest that takes late answers, a crash's registers.
  rules.allow_ioctl(
      {KVM_RUN, KVM_SET_USER_MEMORY_REGION, KVM_IOEVENTFD, KVM_GET_REGS, KVM_GET_SREGS});
  // CPU time and faults of the measured interval, whose ends the guest marks.
  rules.allow_if(SYS_getrusage, {{.index = 0, .value = RUSAGE_SELF}});
  // Below what the guest's allocator manages; blocks that the guest is about to use.
  rules.allow_advice({MADV_NOHUGEPAGE, MADV_POPULATE_WRITE});
  add_discards(rules);
  add_samples(rules);
  if (features.has(SandboxFeature::debugger)) {
    rules.allow_ioctl({KVM_SET_REGS, KVM_SET_SREGS, KVM_GET_FPU, KVM_SET_FPU});
    add_own_memory(rules, process);
  }
  if (features.has(SandboxFeature::profile)) {
    rules.allow_ioctl({KVM_GET_MP_STATE});
    rules.allow_if(SYS_process_vm_readv,
                   {{.index = 0, .value = static_cast<std::uint64_t>(process)}});
  }
}

// Clients of the vmm's own.
void add_serving(Rules& rules) {
  rules.allow({SYS_poll, SYS_accept4, SYS_recvfrom, SYS_sendto, SYS_read, SYS_close});
}

// Nothing is opened but by openat2, whose arguments no filter can see: that what it is asked for is
// harmless is Landlock's part and FileMounts'. Names are changed only where something may be.
void add_files(Rules& rules, FeatureSet features) {
  rules.allow({SYS_openat2, SYS_close, SYS_read, SYS_pread64, SYS_poll, SYS_fstat, SYS_fstatfs,
               SYS_readlinkat, SYS_getdents64, SYS_lseek, SYS_getrandom});
  rules.allow_if(SYS_statx, {{.index = 2, .value = AT_EMPTY_PATH}});
  // The terminal of the session, if the streams are one.
  rules.allow_ioctl({TIOCGWINSZ, TCGETS, TCSETS, TCFLSH, FIONREAD});
  if (features.has(SandboxFeature::program_changes_files)) {
    rules.allow({SYS_pwrite64, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_mkdirat, SYS_unlinkat,
                 SYS_renameat2, SYS_symlinkat, SYS_fchmod});
    rules.allow_if(SYS_fcntl,
                   {{.index = 1, .value = F_SETFL},
                    {.index = 2, .mask = ~std::uint64_t{O_APPEND}, .value = O_NONBLOCK}});
    // By descriptor only, and of links never what they lead to.
    rules.allow_if(SYS_linkat, {{.index = 4, .value = 0}});
    rules.allow_if(fchmodat2_number, {{.index = 3, .value = AT_EMPTY_PATH}});
    rules.allow_if(SYS_utimensat, {{.index = 3, .value = AT_EMPTY_PATH}});
    rules.allow_if(SYS_fchownat, {{.index = 4, .value = AT_EMPTY_PATH}});
  }
}

void allow_option(Rules& rules, int number, KernelOption option) {
  rules.allow_if(number, {{.index = 1, .value = static_cast<std::uint64_t>(option.level)},
                          {.index = 2, .value = static_cast<std::uint64_t>(option.name)}});
}

// Connections that are there, by TCP; which end one is to is not among the arguments, and so is
// AllowedNetwork's part, and Landlock's. Sockets that listen were bound before, and no other can
// be: one that has no address is sent nothing to, or from.
void add_sockets(Rules& rules, FeatureSet features) {
  constexpr std::uint64_t stream = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  constexpr std::uint64_t no_address = 0;
  rules.allow({SYS_poll, SYS_read, SYS_close, SYS_shutdown, SYS_getsockname, SYS_getpeername});
  rules.allow({SYS_epoll_wait, SYS_epoll_pwait});
  for (const int operation : {EPOLL_CTL_ADD, EPOLL_CTL_DEL}) {
    rules.allow_if(SYS_epoll_ctl, {{.index = 1, .value = static_cast<std::uint64_t>(operation)}});
  }
  rules.allow_if(SYS_recvfrom,
                 {{.index = 3, .mask = ~std::uint64_t{MSG_DONTWAIT | MSG_PEEK}, .value = 0},
                  {.index = 4, .value = no_address}});
  for (const std::uint64_t more : {std::uint64_t{0}, std::uint64_t{MSG_MORE}}) {
    rules.allow_if(SYS_sendto, {{.index = 3, .value = MSG_DONTWAIT | MSG_NOSIGNAL | more},
                                {.index = 4, .value = no_address}});
  }
  rules.allow_ioctl({FIONREAD});
  for (const OptionPair& pair : option_pairs()) {
    allow_option(rules, SYS_setsockopt, pair.kernel);
    allow_option(rules, SYS_getsockopt, pair.kernel);
  }
  allow_option(rules, SYS_setsockopt, {SOL_SOCKET, SO_LINGER});
  allow_option(rules, SYS_getsockopt, {SOL_SOCKET, SO_ERROR});
  if (features.has(SandboxFeature::listen)) {
    rules.allow({SYS_listen});
    rules.allow_if(SYS_accept4, {{.index = 3, .value = SOCK_NONBLOCK | SOCK_CLOEXEC}});
    allow_option(rules, SYS_setsockopt, {SOL_SOCKET, SO_REUSEADDR});
  }
  if (features.has(SandboxFeature::connect)) {
    for (const std::uint64_t family : {std::uint64_t{AF_INET}, std::uint64_t{AF_INET6}}) {
      rules.allow_if(
          SYS_socket,
          {{.index = 0, .value = family}, {.index = 1, .value = stream}, {.index = 2, .value = 0}});
    }
    rules.allow({SYS_connect});
  }
}

// New files only, which are then moved in place.
void add_metrics(Rules& rules, FeatureSet features) {
  rules.allow({SYS_poll, SYS_close});
  if (features.has(SandboxFeature::metrics_file)) {
    rules.allow_if(SYS_openat,
                   {{.index = 2, .value = static_cast<std::uint64_t>(ReplacedFile::open_flags())}});
    rules.allow({SYS_rename, SYS_unlink});
  }
  if (features.has(SandboxFeature::metrics_socket)) {
    rules.allow({SYS_accept4, SYS_recvfrom, SYS_sendto});
  }
}

// A trace that begins while the guest runs, in a file that is open: looked at, locked, given room,
// mapped. Reading limits only.
void add_later_trace(Rules& rules) {
  rules.allow({SYS_pread64, SYS_pwrite64, SYS_close});
  rules.allow_if(SYS_fcntl, {{.index = 1, .value = F_GETFL}});
  rules.allow_if(SYS_flock, {{.index = 1, .value = LOCK_EX | LOCK_NB}});
  rules.allow_if(SYS_fallocate, {{.index = 1, .value = FALLOC_FL_KEEP_SIZE}});
  rules.allow_if(
      SYS_prlimit64,
      {{.index = 0, .value = 0}, {.index = 1, .value = RLIMIT_FSIZE}, {.index = 2, .value = 0}});
  rules.allow_if(
      SYS_mmap, {{.index = 2, .value = PROT_READ | PROT_WRITE}, {.index = 3, .value = MAP_SHARED}});
}

void add_trace(Rules& rules, FeatureSet features) {
  if (features.has(SandboxFeature::trace_later)) {
    add_later_trace(rules);
  }
  rules.allow({SYS_ftruncate});
  add_length(rules);
  rules.allow_if(SYS_fallocate, {{.index = 1, .value = 0}});
  rules.allow_advice({populate_write});
}

} // namespace

std::string_view name_of(ThreadKind kind) {
  return kind_names[static_cast<std::size_t>(kind)];
}

std::vector<SyscallRule> syscall_rules(ThreadKind kind, FeatureSet features, int process) {
  Rules rules;
  add_common(rules, process);
  switch (kind) {
  case ThreadKind::main:
    add_main(rules, features);
    break;
  case ThreadKind::vcpu:
    add_vcpu(rules, features, process);
    break;
  case ThreadKind::worker:
    rules.allow({SYS_epoll_wait, SYS_epoll_pwait, SYS_ppoll, SYS_read});
    add_discards(rules);
    add_measuring(rules); // what is resident just before it is discarded
    break;
  case ThreadKind::sampler:
    add_samples(rules);
    break;
  case ThreadKind::control:
    add_serving(rules);
    if (features.has(SandboxFeature::trace_later)) { // which clients hand files over for
      rules.allow({SYS_recvmsg});
    }
    break;
  case ThreadKind::trace:
    add_trace(rules, features);
    break;
  case ThreadKind::files:
    add_files(rules, features);
    break;
  case ThreadKind::sockets:
    add_sockets(rules, features);
    break;
  case ThreadKind::pressure:
    rules.allow({SYS_poll, SYS_pread64, SYS_close});
    break;
  case ThreadKind::metrics:
    add_metrics(rules, features);
    break;
  case ThreadKind::debugger:
    add_serving(rules);
    add_samples(rules);
    add_own_memory(rules, process);
    rules.allow({SYS_shutdown});
    if (features.has(SandboxFeature::core_file)) {
      add_core(rules);
    }
    rules.allow_if(SYS_setsockopt, {{.index = 1, .value = IPPROTO_TCP}});
    rules.allow_ioctl(
        {KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_FPU, KVM_SET_FPU});
    break;
  }
  // Whoever dies puts the terminal back.
  if (features.has(SandboxFeature::program)) {
    rules.allow_ioctl({TCSETS});
  }
  // Whoever finds something to stop at takes the commands, which may ask for any vCPU's registers.
  if (features.has(SandboxFeature::terminal_input) &&
      (kind == ThreadKind::main || kind == ThreadKind::vcpu || kind == ThreadKind::worker)) {
    rules.allow({SYS_poll, SYS_read});
    rules.allow_ioctl({TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, KVM_GET_REGS, KVM_GET_SREGS});
    // The terminal is put back while the process is stopped. A null action only asks.
    for (const int signal : {SIGTSTP, SIGCONT, SIGWINCH}) {
      rules.allow_if(SYS_rt_sigaction, {{.index = 0, .value = static_cast<std::uint64_t>(signal)}});
    }
    rules.allow_if(SYS_rt_sigaction, {{.index = 1, .value = 0}});
  }
  return rules.take();
}

} // namespace vmm
