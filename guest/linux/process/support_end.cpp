// SPDX-License-Identifier: MIT
// How the program ends, and how one of its threads does.
#include <linux/futex.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "guest/linux/process/call_support.hpp"

namespace guest::linux {

namespace {

constexpr int status_of_signal = 128; // of a program's end by one, as shells have it

// The kernel's struct robust_list_head.
struct RobustList {
  std::uint64_t first;
  std::int64_t word_offset; // from an entry to its lock
  std::uint64_t pending;    // the entry that is locked or unlocked now
};
constexpr unsigned most_robust_locks = 2048; // ROBUST_LIST_LIMIT

} // namespace

// The compiler does not believe a virtual function that it does not return.
void CallSupport::end(std::uint8_t status) {
  if (!is_first(self())) {
    if (!end_others()) {
      end_thread(); // another has ended the process already
    }
    end_process(W_EXITCODE(status, 0));
  }
  machine_.exit(leave(status));
  std::unreachable();
}

// By a thread of it, or of another: then it is the first.
void CallSupport::end_by_signal(Process& process, std::uint64_t signal) {
  if (!is_first(process)) {
    self().killed_status = static_cast<int>(signal);
    if (!end_others()) {
      end_thread();
    }
    end_process(static_cast<int>(signal));
  }
  machine_.exit(leave(static_cast<std::uint8_t>(status_of_signal + signal)));
  std::unreachable();
}

void CallSupport::kill_process(Process& process, int wait_status) {
  process.killed_status = process.killed_status.value_or(wait_status);
  for_each_thread(process, [](Thread& thread) { thread.is_to_end = true; });
  process.is_stopped = false;
  release(process);
}

// Who is told nothing any more would have been told by write() on Linux: the status says it.
std::uint8_t CallSupport::leave(std::uint8_t status) {
  for (const auto& process : processes_) {
    for (std::uint64_t descriptor = 0; descriptor < process->files.end(); ++descriptor) {
      const OpenFile* const file = process->files.get(descriptor);
      const int error = file == nullptr ? 0 : file->file->write_out();
      if (error != 0) {
        complain(view(file->path), error);
        status = std::max(status, std::uint8_t{1});
      }
    }
  }
  if (const int error = mapped_.write_out(); error != 0) {
    complain("a file that is mapped", error);
    status = std::max(status, std::uint8_t{1});
  }
  return status;
}

void CallSupport::complain(std::string_view path, int error) {
  Text line = to_text(view(self().command.path));
  append(line, ": not all that was written is in ");
  append(line, path);
  append(line, error == ENOSPC   ? ": no space left on the host's disk\n"
               : error == EDQUOT ? ": the user's share of the host's disk is used up\n"
               : error == EFBIG  ? ": larger than the host lets files be\n"
                                 : ": the host could not write it\n");
  static_cast<void>(files_.perform({.operation = abi::FileOperation::write,
                                    .file = 2,
                                    .buffer_gpa = reinterpret_cast<std::uint64_t>(line.data()),
                                    .buffer_bytes = line.size()}));
}

// ---- a thread's --------------------------------------------------------------------------------

// The compiler does not know that nobody goes on with a thread that has ended.
void CallSupport::end_thread() {
  Thread& thread = scheduler_.running();
  if (is_alone() && !is_first(self())) {
    end_process(self().killed_status.value_or(W_EXITCODE(self().status, 0)));
  }
  self().used_by_ended_ns += scheduler_.used_ns(thread);
  tell_end_of(thread);
  thread.signals.set_blocked(~SignalSet{0}); // it takes none any more
  machine_.set_handled_signals(handled_signals());
  Thread*& ender = self().ender;
  if (ender == &thread) {
    ender = nullptr;
  } else if (ender != nullptr) {
    scheduler_.wake(*ender);
  }
  scheduler_.end_running();
  std::unreachable();
}

bool CallSupport::end_others() {
  Thread& self = scheduler_.running();
  for_each_thread(*self.process, [&](Thread& thread) {
    if (&thread != &self) {
      thread.is_to_end = true;
      scheduler_.wake(thread);
    }
  });
  while (!is_alone()) {
    if (self.is_to_end) {
      return false; // one of them was faster
    }
    self.process->ender = &self;
    rest_until(Machine::never);
  }
  self.process->ender = nullptr;
  return true;
}

void CallSupport::tell_end_of(Thread& thread) {
  abandon_locks(thread);
  if (thread.clear_at_end != 0 && user_.store(thread.clear_at_end, std::int32_t{0})) {
    futexes_.wake(waiting_place(thread.clear_at_end), 1);
  }
}

void CallSupport::abandon_lock(const Thread& thread, std::uint64_t address, bool has_priorities) {
  const auto is_own = [&](std::uint32_t value) {
    return (value & FUTEX_TID_MASK) == static_cast<std::uint32_t>(thread.id);
  };
  const Or<std::uint32_t> before = user_.change_word(address, [&](std::uint32_t value) {
    return is_own(value) ? (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED : value;
  });
  if (!before || !is_own(*before)) {
    return;
  }
  if ((*before & FUTEX_WAITERS) != 0 || has_priorities) {
    futexes_.wake(waiting_place(address), 1);
  }
}

// The list is the program's, and may be anything: it is followed so far and no further.
void CallSupport::abandon_locks(const Thread& thread) {
  constexpr std::uint64_t has_priorities = 1; // in the address of an entry
  RobustList list{};
  static_assert(sizeof list == robust_list_bytes);
  if (thread.robust_list == 0 || !user_.fetch(thread.robust_list, list)) {
    return;
  }
  const auto abandon = [&](std::uint64_t entry) {
    abandon_lock(thread, (entry & ~has_priorities) + static_cast<std::uint64_t>(list.word_offset),
                 (entry & has_priorities) != 0);
  };
  std::uint64_t entry = list.first;
  for (unsigned count = 0; count < most_robust_locks; ++count) {
    if ((entry & ~has_priorities) == thread.robust_list) {
      break;
    }
    std::uint64_t next = 0;
    const bool has_next = user_.fetch(entry & ~has_priorities, next);
    if (entry != list.pending) {
      abandon(entry);
    }
    if (!has_next) {
      break;
    }
    entry = next;
  }
  if (list.pending != 0) {
    abandon(list.pending);
  }
}

} // namespace guest::linux
