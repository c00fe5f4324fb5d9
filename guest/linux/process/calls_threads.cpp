// SPDX-License-Identifier: MIT
// Threads: their beginning and their end (clone(2), set_tid_address(2), get_robust_list(2)).
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

namespace {

constexpr std::size_t most_threads = 4096;
// What makes a thread of what would be a process, and what threads of C libraries have besides.
constexpr std::uint64_t thread_flags =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
constexpr std::uint64_t known_flags = thread_flags | CLONE_SYSVSEM | CLONE_SETTLS |
                                      CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
                                      CLONE_CHILD_SETTID | CLONE_DETACHED | CLONE_IO;
// Of a process.
constexpr std::uint64_t known_process_flags =
    CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_SETTLS | CLONE_PARENT_SETTID |
    CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | clone_clear_handlers | CLONE_IO | CLONE_SYSVSEM;
constexpr std::uint64_t signal_bits = 0xff; // of clone's flags: what a process's end sends

// The kernel's struct clone_args.
struct CloneArguments {
  std::uint64_t flags, pidfd, child_id_at, parent_id_at, exit_signal, stack, stack_bytes,
      thread_pointer, ids_at, ids, cgroup;
};
constexpr std::uint64_t least_clone_arguments = 64; // of the first kernel that had them

} // namespace

Answer ProgramCalls::sys_gettid(const Args& /*args*/) {
  return scheduler_.running().id;
}

Answer ProgramCalls::sys_sched_yield(const Args& /*args*/) {
  scheduler_.yield();
  return 0;
}

// ---- the beginning -----------------------------------------------------------------------------

Answer ProgramCalls::start_thread(const ThreadStart& start) {
  if ((start.flags & CLONE_SIGHAND) != 0 && (start.flags & CLONE_VM) == 0) {
    return -EINVAL;
  }
  if ((start.flags & CLONE_THREAD) != 0 && (start.flags & CLONE_SIGHAND) == 0) {
    return -EINVAL;
  }
  if ((start.flags & CLONE_THREAD) == 0) {
    return (start.flags & ~known_process_flags) == 0 ? start_process(start) : missing(SYS_clone);
  }
  if ((start.flags & thread_flags) != thread_flags || (start.flags & ~known_flags) != 0) {
    return missing(SYS_clone); // threads that share less
  }
  if (scheduler_.threads().size() >= most_threads) {
    return -EAGAIN;
  }
  Or<std::unique_ptr<Thread>> thread = make_thread(start, self(), last_thread_id_ + 1);
  if (!thread) {
    return -Answer{thread.error()};
  }
  if ((start.flags & CLONE_CHILD_SETTID) != 0) {
    static_cast<void>(user_.store(start.child_id_at, (*thread)->id));
  }
  scheduler_.add(std::move(*thread));
  return ++last_thread_id_;
}

// It goes on as the one that runs does. Linux does not tell either that there is nothing at the
// address of a number.
Or<std::unique_ptr<Thread>> ProgramCalls::make_thread(const ThreadStart& start, Process& process,
                                                      std::int32_t id) {
  if (start.thread_pointer >> 47 != 0 && (start.flags & CLONE_SETTLS) != 0) {
    return std::unexpected(EPERM);
  }
  std::optional<std::uint64_t> thread_pointer;
  if ((start.flags & CLONE_SETTLS) != 0) {
    thread_pointer = start.thread_pointer;
  }
  Or<std::unique_ptr<Context>> context = contexts_.copy_running(start.stack, thread_pointer);
  if (!context) {
    return std::unexpected(context.error());
  }
  self().memory->sites.keep_trampolines();
  auto thread =
      std::make_unique<Thread>(id, &process, process.actions, process.pending, std::move(*context));
  thread->signals.set_blocked(signals().blocked());
  thread->name = scheduler_.running().name;
  if ((start.flags & CLONE_CHILD_CLEARTID) != 0) {
    thread->clear_at_end = start.child_id_at;
  }
  if ((start.flags & CLONE_PARENT_SETTID) != 0) {
    static_cast<void>(user_.store(start.parent_id_at, id));
  }
  return thread;
}

Answer ProgramCalls::sys_clone(const Args& args) {
  return start_thread({.flags = args[0] & 0xffffffff & ~signal_bits,
                       .stack = args[1],
                       .thread_pointer = args[4],
                       .parent_id_at = args[2],
                       .child_id_at = args[3],
                       .end_signal = args[0] & signal_bits});
}

Answer ProgramCalls::sys_clone3(const Args& args) {
  const auto [address, bytes, unused2, unused3, unused4, unused5] = args;
  if (bytes < least_clone_arguments) {
    return -EINVAL;
  }
  if (bytes > abi::page_bytes) {
    return -E2BIG;
  }
  const Or<std::span<const std::byte>> given = user_.data_at(address, bytes);
  if (!given) {
    return -Answer{given.error()};
  }
  CloneArguments start{};
  const std::uint64_t known = std::min<std::uint64_t>(bytes, sizeof start);
  std::memcpy(&start, given->data(), known);
  if (std::ranges::any_of(given->subspan(known), [](std::byte b) { return b != std::byte{0}; })) {
    return -E2BIG;
  }
  if ((start.flags & (signal_bits | CLONE_DETACHED)) != 0 ||
      (start.exit_signal & ~signal_bits) != 0 || (start.stack == 0) != (start.stack_bytes == 0) ||
      ((start.flags & CLONE_THREAD) != 0 && start.exit_signal != 0) || start.ids != 0) {
    return -EINVAL;
  }
  return start_thread({.flags = start.flags,
                       .stack = start.stack + start.stack_bytes,
                       .thread_pointer = start.thread_pointer,
                       .parent_id_at = start.parent_id_at,
                       .child_id_at = start.child_id_at,
                       .end_signal = start.exit_signal});
}

Answer ProgramCalls::sys_set_tid_address(const Args& args) {
  scheduler_.running().clear_at_end = args[0];
  return scheduler_.running().id;
}

Answer ProgramCalls::sys_set_robust_list(const Args& args) {
  if (args[1] != robust_list_bytes) {
    return -EINVAL;
  }
  scheduler_.running().robust_list = args[0];
  return 0;
}

Answer ProgramCalls::sys_get_robust_list(const Args& args) {
  const Thread* const thread =
      args[0] == 0 ? &scheduler_.running() : find_thread(static_cast<std::int32_t>(args[0]));
  if (thread == nullptr) {
    return -ESRCH;
  }
  return user_.store(args[2], robust_list_bytes) && user_.store(args[1], thread->robust_list)
             ? 0
             : -EFAULT;
}

// ---- the end -----------------------------------------------------------------------------------

Answer ProgramCalls::sys_exit(const Args& args) {
  const auto status = static_cast<std::uint8_t>(args[0] & 0xff);
  const bool is_first_thread = scheduler_.running().id == self().id;
  if (is_alone()) {
    end(is_first_thread ? status : self().status);
  }
  self().status = is_first_thread ? status : self().status;
  end_thread();
}

} // namespace guest::linux
