// SPDX-License-Identifier: MIT
// The system calls: each is a member function named like it, in the calls_*.cpp that it belongs to,
// and a row in the table of calls.cpp. It is done by the thread that runs. What a program passes is
// checked there, once, before it is used: memory by UserMemory, descriptors by OpenFiles, paths by
// FileTree. What calls of several subjects need is in CallSupport; what those of one need is with
// them. On top of those on sockets and files, here are those that concern the program itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/linux/process/file_calls.hpp"

namespace guest::linux {

class ProgramCalls : protected FileCalls {
 public:
  using FileCalls::FileCalls;

 protected:
  ~ProgramCalls() = default;

  struct Handler {
    Answer (ProgramCalls::*function)(const Args&) = nullptr; // null: there is no such call
    std::uint8_t narrow = 0; // bit n: argument n is an int, whatever its register has above
  };
  // `number` is less than abi::program_calls.
  [[nodiscard]] static const Handler& handler_of(std::uint64_t number);

  // ---- calls_execution.cpp
  // Puts a program into memory where nothing is.
  [[nodiscard]] Or<ProgramEntry> become(FoundProgram& found);
  // The same instead of the one that asks; an error while there is still that one to go back to.
  [[nodiscard]] Answer execute(Command command, std::string_view directory);
  Answer sys_execve(const Args& args);
  Answer sys_execveat(const Args& args);

  // ---- calls_process.cpp
  Answer sys_exit_group(const Args& args);
  Answer sys_getpid(const Args& args);
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

  // ---- calls_children.cpp
  struct ThreadStart {
    std::uint64_t flags = 0; // CLONE_
    std::uint64_t stack = 0; // its end; 0: the caller's
    std::uint64_t thread_pointer = 0;
    std::uint64_t parent_id_at = 0; // addresses of numbers
    std::uint64_t child_id_at = 0;
    std::uint64_t end_signal = 0; // of a process, to its parent
  };
  [[nodiscard]] Answer start_process(const ThreadStart& start);
  // Whether the running thread has made that one, which is in its memory still.
  [[nodiscard]] bool has_made(std::int32_t id) const;
  // Which children are meant, and what of them.
  struct Wanted {
    bool is_group = false;
    std::int32_t id = 0; // of the group or the child; 0: all
    bool ends = true;
    bool stops = false;
    bool continues = false;

    [[nodiscard]] bool wants(const Process& child) const;
  };
  // What wait(2) has for it.
  [[nodiscard]] static int news_of(const Process& child) {
    return child.wait_status ? *child.wait_status : *child.change;
  }
  // One of which there is something to tell; null: none yet. ECHILD.
  [[nodiscard]] Or<Process*> child_with_news(const Wanted& wanted) const;
  [[nodiscard]] Or<Process*> wait_for_child(const Wanted& wanted, bool waits);
  void take_child(Process& child);
  [[nodiscard]] Answer tell_child(const Or<Process*>& ended, std::uint64_t information_at,
                                  std::uint64_t usage_at, bool stays);
  // 0 is the running one; null: there is none.
  [[nodiscard]] Process* process_at(std::uint64_t id) const {
    const auto number = static_cast<std::int32_t>(id);
    return number == 0 ? &self() : find_process(number);
  }
  Answer sys_fork(const Args& args);
  Answer sys_vfork(const Args& args);
  Answer sys_wait4(const Args& args);
  Answer sys_waitid(const Args& args);
  Answer sys_getppid(const Args& args);
  Answer sys_getpgrp(const Args& args);
  Answer sys_getpgid(const Args& args);
  Answer sys_getsid(const Args& args);
  Answer sys_setpgid(const Args& args);
  Answer sys_setsid(const Args& args);

  // ---- calls_users.cpp
  [[nodiscard]] Answer set_name(std::uint64_t address);
  [[nodiscard]] Answer name_memory(std::uint64_t address, std::uint64_t bytes,
                                   std::uint64_t name) const;
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
  Answer sys_prctl(const Args& args);
  Answer sys_personality(const Args& args);

  // ---- calls_scheduling.cpp
  [[nodiscard]] Answer set_policy(std::uint64_t thread, std::int32_t policy,
                                  std::uint64_t parameters);
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

  // ---- calls_threads.cpp
  [[nodiscard]] Answer start_thread(const ThreadStart& start);
  // Of a process, that number; not known to the scheduler yet. EAGAIN, EPERM.
  [[nodiscard]] Or<std::unique_ptr<Thread>> make_thread(const ThreadStart& start, Process& process,
                                                        std::int32_t id);
  Answer sys_clone(const Args& args);
  Answer sys_clone3(const Args& args);
  Answer sys_exit(const Args& args);
  Answer sys_gettid(const Args& args);
  Answer sys_set_tid_address(const Args& args);
  Answer sys_set_robust_list(const Args& args);
  Answer sys_get_robust_list(const Args& args);
  Answer sys_sched_yield(const Args& args);

  // ---- calls_futex.cpp
  [[nodiscard]] Answer wait_at(std::uint64_t address, std::uint32_t value, std::uint32_t bits,
                               std::uint64_t deadline_ns);
  [[nodiscard]] Answer lock_at(std::uint64_t address, std::uint64_t deadline_ns);
  [[nodiscard]] Answer try_lock_at(std::uint64_t address);
  [[nodiscard]] Answer unlock_at(std::uint64_t address);
  [[nodiscard]] Answer wake_by_operation(const Args& args);
  // Of futex's time-out, for an operation; EFAULT, EINVAL.
  [[nodiscard]] Or<std::uint64_t> futex_deadline(std::uint64_t operation, std::uint64_t timeout_at);
  Answer sys_futex(const Args& args);

  // ---- calls_signals.cpp
  // To what a call says; EINVAL, ESRCH.
  static constexpr std::int64_t any_group = -1;
  Answer send_to_thread(std::int64_t group, std::int64_t thread, const SignalCause& cause);
  Answer send_to_process(std::int64_t target, const SignalCause& cause);
  // What siginfo_t at an address says, if it may wait there; EFAULT, EAGAIN.
  [[nodiscard]] Or<SignalCause> cause_at(std::uint64_t signal, std::uint64_t address,
                                         const PendingSignals& room) const;
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

  // ---- calls_time.cpp
  // Whether it was slept that long; no: there is a signal to handle.
  [[nodiscard]] bool sleep_until(std::uint64_t deadline_ns);
  // What a clock of Linux shows; EINVAL.
  [[nodiscard]] const Thread* thread_of_clock(std::uint64_t clock) const; // null: it is of none
  [[nodiscard]] Or<std::int64_t> clock_ns(std::uint64_t clock);
  Answer sys_clock_gettime(const Args& args);
  Answer sys_clock_getres(const Args& args);
  Answer sys_gettimeofday(const Args& args);
  Answer sys_time(const Args& args);
  Answer sys_times(const Args& args);
  Answer sys_nanosleep(const Args& args);
  Answer sys_clock_nanosleep(const Args& args);

  // ---- calls_timers.cpp
  void set_timer(std::int32_t timer, const Timers::Setting& setting);
  [[nodiscard]] Or<std::int32_t> timer_at(std::uint64_t number) const;
  // What is left of a timer's time, and its interval; 0 of one that is off.
  struct TimerRest {
    std::uint64_t left_ns = 0;
    std::uint64_t interval_ns = 0;
  };
  [[nodiscard]] TimerRest rest_of(std::int32_t timer);
  Answer sys_alarm(const Args& args);
  Answer sys_setitimer(const Args& args);
  Answer sys_getitimer(const Args& args);
  Answer sys_timer_create(const Args& args);
  Answer sys_timer_settime(const Args& args);
  Answer sys_timer_gettime(const Args& args);
  Answer sys_timer_getoverrun(const Args& args);
  Answer sys_timer_delete(const Args& args);

  // ---- calls_memory.cpp
  [[nodiscard]] int check_mapping(const Args& args) const;
  [[nodiscard]] Or<Content> shared_memory(std::uint64_t bytes);
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

 private:
  friend struct CallTable;
};

} // namespace guest::linux
