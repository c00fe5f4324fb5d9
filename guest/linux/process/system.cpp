// SPDX-License-Identifier: MIT
#include "guest/linux/process/system.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <bit>
#include <cerrno>

namespace guest::linux {

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

Or<ProgramEntry> System::load(std::uint64_t break_start) {
  break_start_ = break_start;
  Or<FoundProgram> found = loader_.find(self().command, view(self().directory));
  return found ? become(*found) : std::unexpected(found.error());
}

// ---- calls -------------------------------------------------------------------------------------

Answer System::answer(const Call& call) {
  if (call.number >= abi::program_calls) {
    return -ENOSYS;
  }
  ++start_.calls[call.number];
  if (const Handler& handler = handler_of(call.number); handler.function != nullptr) {
    Args args = call.args;
    caller_stack_ = call.stack;
    for (unsigned left = handler.narrow; left != 0; left &= left - 1) {
      args[static_cast<std::size_t>(std::countr_zero(left))] &= 0xffffffff;
    }
    const Answer answer = (this->*handler.function)(args);
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

void System::begin_thread() {
  scheduler_.arrive();
  catch_up();
}

bool System::look_outside() {
  const bool signals = receive_signals();
  const bool files = scheduler_.has_watchers() && machine_.take_ready_files();
  if (files) {
    scheduler_.wake_watchers();
  }
  return signals || files;
}

// What comes between the last look and the program's next instruction interrupts it there. But not
// if the alarm has been set since, and nothing does for what another thread has found when it began
// to wait, and that one may have run within the tick (tests/model/wake.pml).
void System::catch_up() {
  look_outside();
  bool again = false;
  do {
    const bool ticks = scheduler_.wants_tick();
    if (ticks) {
      scheduler_.tick();
    }
    const bool set = arm_alarm();
    again = (ticks || set) && look_outside();
  } while (again);
}

void System::tend_files() {
  if (ends_in_order_ == contents_.is_empty()) {
    ends_in_order_ = !ends_in_order_;
    machine_.set_handled_signals(handled_signals());
  }
  contents_.tend();
}

std::uint64_t System::patch_site(std::uint64_t behind) {
  constexpr std::uint64_t call_bytes = 2;
  ++start_.by_instruction;
  if ((start_.watched & abi::watched_by_debugger) != 0) {
    return behind; // breakpoints are in the code, and are to be hit where it says
  }
  const std::uint64_t code = behind - call_bytes;
  if (memory_.is_shared(code)) {
    return behind; // or the file would have a jump there
  }
  const std::uint64_t readable =
      memory_.allowed_bytes(code, SitePatcher::site_bytes, PROT_READ | PROT_EXEC);
  return self().memory->sites.patch(behind, readable).value_or(behind);
}

} // namespace guest::linux
