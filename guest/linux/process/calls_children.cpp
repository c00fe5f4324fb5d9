// SPDX-License-Identifier: MIT
// Processes that a process makes (fork(2), vfork(2), posix_spawn(3)), and how it waits for them
// (wait(2)).
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "guest/linux/process/program_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

constexpr std::size_t most_processes = 256;
constexpr std::uint64_t known_wait_options =
    WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WALL | __WCLONE;

// What has become of a child, as siginfo_t has it.
struct Change {
  std::int32_t code;   // CLD_
  std::int32_t detail; // its exit status, or the signal
};

Change change_of(int status) {
  if (status == __W_CONTINUED) {
    return {.code = CLD_CONTINUED, .detail = SIGCONT};
  }
  if (WIFSTOPPED(status)) {
    return {.code = CLD_STOPPED, .detail = WSTOPSIG(status)};
  }
  return WIFEXITED(status) ? Change{.code = CLD_EXITED, .detail = WEXITSTATUS(status)}
                           : Change{.code = CLD_KILLED, .detail = WTERMSIG(status)};
}

rusage usage_of(std::uint64_t used_ns) {
  const auto used_us = static_cast<std::int64_t>(used_ns / 1000);
  rusage usage{};
  usage.ru_utime = {used_us / 1'000'000, used_us % 1'000'000};
  return usage;
}

} // namespace

// ---- the beginning -----------------------------------------------------------------------------

// By vfork the child is in its parent's memory, and the thread that made it waits, until it runs
// another program or ends.
Answer ProgramCalls::start_process(const ThreadStart& start) {
  const bool is_fork = (start.flags & CLONE_VM) == 0;
  if (!is_fork && (start.flags & CLONE_VFORK) == 0) {
    return missing(SYS_clone); // both would go on in one memory
  }
  forget_ended(self());
  if (processes_.size() >= most_processes) {
    return -EAGAIN;
  }
  Process& parent = self();
  const std::int32_t id = last_thread_id_ + 1;
  auto made = std::make_unique<Process>(id, parent);
  made->end_signal = start.end_signal;
  if ((start.flags & CLONE_VFORK) != 0) {
    made->made_by = &scheduler_.running();
  }
  if ((start.flags & CLONE_PARENT) != 0) {
    made->parent = parent.parent;
  }
  if ((start.flags & clone_clear_handlers) != 0) {
    made->actions.forget_handlers();
  }
  Or<std::unique_ptr<Thread>> thread = make_thread(start, *made, id);
  if (!thread) {
    return -Answer{thread.error()};
  }
  (*thread)->signals.alternate_stack =
      is_fork || start.stack == 0 ? signals().alternate_stack : AlternateStack{};
  if (is_fork) {
    made->memory = std::make_unique<ProcessMemory>(memory_, *parent.memory, ++last_memory_);
    if (const int error = memory_.fork(made->memory->occupant); error != 0) {
      return -Answer{error};
    }
  }
  if ((start.flags & CLONE_CHILD_SETTID) != 0) {
    static_cast<void>(user_.store(start.child_id_at, id)); // in the child's memory
  }
  processes_.push_back(std::move(made));
  scheduler_.add(std::move(*thread));
  last_thread_id_ = id;
  machine_.set_handled_signals(handled_signals());
  // From here on memory may be the child's, until this thread goes on. After vfork signals wait for
  // that, as on Linux.
  scheduler_.yield();
  while (has_made(id)) {
    rest_until(Machine::never);
  }
  return id;
}

Answer ProgramCalls::sys_fork(const Args& /*args*/) {
  return start_process({.end_signal = SIGCHLD});
}

Answer ProgramCalls::sys_vfork(const Args& /*args*/) {
  return start_process({.flags = CLONE_VM | CLONE_VFORK, .end_signal = SIGCHLD});
}

bool ProgramCalls::has_made(std::int32_t id) const {
  return std::ranges::any_of(processes_, [&](const auto& process) {
    return process->id == id && process->made_by == &scheduler_.running();
  });
}

// ---- waiting -----------------------------------------------------------------------------------

bool ProgramCalls::Wanted::wants(const Process& child) const {
  if (child.wait_status) {
    return ends;
  }
  return child.change && (*child.change == __W_CONTINUED ? continues : stops);
}

Or<Process*> ProgramCalls::child_with_news(const Wanted& wanted) const {
  bool any = false;
  for (const auto& child : processes_) {
    const bool is_wanted =
        child->parent == self().id && !child->is_waited_for &&
        (wanted.id == 0 || (wanted.is_group ? child->group : child->id) == wanted.id);
    if (is_wanted && wanted.wants(*child)) {
      return child.get();
    }
    any = any || is_wanted;
  }
  return any ? Or<Process*>(nullptr) : std::unexpected(ECHILD);
}

Or<Process*> ProgramCalls::wait_for_child(const Wanted& wanted, bool waits) {
  Thread& thread = scheduler_.running();
  for (;;) {
    const Or<Process*> child = child_with_news(wanted);
    if (!child || *child != nullptr || !waits) {
      return child;
    }
    if (is_diverted()) {
      return std::unexpected(static_cast<int>(-restart));
    }
    thread.awaits_children = true;
    rest_until(Machine::never);
    thread.awaits_children = false;
  }
}

// What there was to tell has been told; who has ended is gone then.
void ProgramCalls::take_child(Process& child) {
  if (!child.wait_status) {
    child.change.reset();
    return;
  }
  self().used_by_children_ns += child.used_by_ended_ns + child.used_by_children_ns;
  child.is_waited_for = true;
}

Answer ProgramCalls::sys_wait4(const Args& args) {
  const auto [given, status_at, options, usage_at, unused4, unused5] = args;
  const auto id = static_cast<std::int32_t>(given);
  if ((options & ~known_wait_options) != 0) {
    return -EINVAL;
  }
  if (id == INT32_MIN) {
    return -ESRCH;
  }
  const Wanted wanted{.is_group = id != -1 && id <= 0,
                      .id = id == -1  ? 0
                            : id == 0 ? self().group
                            : id < 0  ? -id
                                      : id,
                      .stops = (options & WUNTRACED) != 0,
                      .continues = (options & WCONTINUED) != 0};
  const Or<Process*> found = wait_for_child(wanted, (options & WNOHANG) == 0);
  if (!found || *found == nullptr) {
    return found ? 0 : -Answer{found.error()};
  }
  Process& child = **found;
  const int status = news_of(child);
  take_child(child); // whether or not there is room for what is told
  const bool told =
      (status_at == 0 || user_.store(status_at, std::int32_t{status})) &&
      (usage_at == 0 ||
       user_.store(usage_at, usage_of(child.used_by_ended_ns + child.used_by_children_ns)));
  return told ? Answer{child.id} : -EFAULT;
}

Answer ProgramCalls::sys_waitid(const Args& args) {
  const auto [kind, given, information_at, options, usage_at, unused5] = args;
  constexpr std::uint64_t ends = WEXITED | WSTOPPED | WCONTINUED;
  constexpr std::uint64_t known = ends | WNOHANG | WNOWAIT | __WNOTHREAD | __WALL | __WCLONE;
  const auto id = static_cast<std::int32_t>(given);
  if ((options & ~known) != 0 || (options & ends) == 0 || kind > P_PIDFD) {
    return -EINVAL;
  }
  if (kind == P_PIDFD) {
    return id < 0 ? -EINVAL : -EBADF; // nothing is one
  }
  if ((kind == P_PID && id <= 0) || (kind == P_PGID && id < 0)) {
    return -EINVAL;
  }
  const Wanted wanted{.is_group = kind == P_PGID,
                      .id = kind == P_ALL               ? 0
                            : kind == P_PGID && id == 0 ? self().group
                                                        : id,
                      .ends = (options & WEXITED) != 0,
                      .stops = (options & WSTOPPED) != 0,
                      .continues = (options & WCONTINUED) != 0};
  const Or<Process*> found = wait_for_child(wanted, (options & WNOHANG) == 0);
  return tell_child(found, information_at, usage_at, (options & WNOWAIT) != 0);
}

// What siginfo_t says of nobody is cleared, whatever comes of the call.
Answer ProgramCalls::tell_child(const Or<Process*>& found, std::uint64_t information_at,
                                std::uint64_t usage_at, bool stays) {
  struct Words { // of siginfo_t, with a hole between them
    std::int32_t words[3];
  };
  constexpr std::uint64_t child_part = 16; // whose, and what has become of it
  Words head{};
  Words rest{};
  rusage usage{};
  if (found && *found != nullptr) {
    Process& child = **found;
    const Change change = change_of(news_of(child));
    head = {{SIGCHLD, 0, change.code}};
    rest = {{child.id,
             static_cast<std::int32_t>(child.credentials.ids(Credentials::Kind::user).real),
             change.detail}};
    usage = usage_of(child.used_by_ended_ns + child.used_by_children_ns);
    if (!stays) {
      take_child(child);
    }
  }
  if (usage_at != 0 && found && *found != nullptr && !user_.store(usage_at, usage)) {
    return -EFAULT;
  }
  if (information_at != 0) {
    if (!user_.may_write(information_at, child_part + sizeof(Words)) ||
        !user_.store(information_at, head) || !user_.store(information_at + child_part, rest)) {
      return -EFAULT;
    }
  }
  return found ? 0 : -Answer{found.error()};
}

// ---- groups and sessions -----------------------------------------------------------------------

Answer ProgramCalls::sys_getppid(const Args& /*args*/) {
  constexpr std::int32_t init = 1;
  return self().parent == 0 ? init : self().parent;
}

Answer ProgramCalls::sys_getpgrp(const Args& /*args*/) {
  return self().group;
}

Answer ProgramCalls::sys_getpgid(const Args& args) {
  const Process* const process = process_at(args[0]);
  return process == nullptr ? -ESRCH : Answer{process->group};
}

Answer ProgramCalls::sys_getsid(const Args& args) {
  const Process* const process = process_at(args[0]);
  return process == nullptr ? -ESRCH : Answer{process->session};
}

// Of itself, or of a child that has run no other program yet.
Answer ProgramCalls::sys_setpgid(const Args& args) {
  const auto given = static_cast<std::int32_t>(args[1]);
  if (given < 0 || static_cast<std::int32_t>(args[0]) < 0) {
    return -EINVAL;
  }
  Process* const process = process_at(args[0]);
  if (process == nullptr || (process != &self() && process->parent != self().id)) {
    return -ESRCH;
  }
  if (process != &self() && process->has_executed) {
    return -EACCES;
  }
  const std::int32_t group = given == 0 ? process->id : given;
  const bool is_there =
      group == process->id || std::ranges::any_of(processes_, [&](const auto& p) {
        return !p->wait_status && p->group == group && p->session == process->session;
      });
  if (process->session == process->id || process->session != self().session || !is_there) {
    return -EPERM; // who leads a session stays in its group
  }
  process->group = group;
  return 0;
}

Answer ProgramCalls::sys_setsid(const Args& /*args*/) {
  Process& process = self();
  const bool leads = std::ranges::any_of(processes_, [&](const auto& other) {
    return !other->wait_status && other->group == process.id;
  });
  if (leads) {
    return -EPERM;
  }
  process.group = process.id;
  process.session = process.id;
  return process.id;
}

} // namespace guest::linux
