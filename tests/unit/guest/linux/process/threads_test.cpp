// SPDX-License-Identifier: MIT
// Threads of a hosted program: how they begin and end.
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include <doctest/doctest.h>

#include "tests/support/linux/threaded_program.hpp"

namespace {

using test_support::first_thread;
using test_support::ProgramEnd;
using test_support::thread_flags;
using test_support::ThreadedProgram;

TEST_CASE("a thread begins with the stack and the data that it was given, and tells its number") {
  ThreadedProgram program;
  long number = 0;
  const long made = program.begin([&] { number = program.call(SYS_gettid); },
                                  CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
                                  program.at(0), program.at(1));
  CHECK(made == 3);
  CHECK(program.word(0) == 3);
  CHECK(program.word(1) == 3);
  CHECK(program.contexts.last_stack == 0x1000);
  CHECK(program.contexts.last_thread_pointer == 0x2000);
  CHECK(number == 0); // not yet
  program.yield();
  CHECK(number == 3);
  CHECK(program.call(SYS_gettid) == first_thread);
  CHECK(program.call(SYS_getpid) == first_thread);
}

TEST_CASE("a thread has a name of its own, at first its maker's, and a clock of what it has used") {
  ThreadedProgram program;
  constexpr std::uint64_t clock_of_3 = (~std::uint64_t{3} << 3) | 6; // pthread_getcpuclockid(3)
  const auto nanoseconds = [&](std::uint64_t clock) {
    CHECK(program.call(SYS_clock_gettime, clock & 0xffffffff, program.at(64)) == 0);
    return program.word(66);
  };
  std::memcpy(&program.word(0), "maker", 6);
  CHECK(program.call(SYS_prctl, PR_SET_NAME, program.at(0), 0, 0, 0) == 0);
  program.begin([&] {
    CHECK(program.call(SYS_prctl, PR_GET_NAME, program.at(8), 0, 0, 0) == 0);
    CHECK(std::memcmp(&program.word(8), "maker", 6) == 0);
    std::memcpy(&program.word(0), "made", 5);
    CHECK(program.call(SYS_prctl, PR_SET_NAME, program.at(0), 0, 0, 0) == 0);
    program.machine.now += 500;
    CHECK(nanoseconds(CLOCK_THREAD_CPUTIME_ID) == 500);
    program.yield();
  });
  CHECK(nanoseconds(clock_of_3) == 0);
  const std::uint32_t own = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  program.yield();
  CHECK(nanoseconds(clock_of_3) == 500);
  CHECK(nanoseconds(CLOCK_THREAD_CPUTIME_ID) == own);
  CHECK(program.call(SYS_prctl, PR_GET_NAME, program.at(8), 0, 0, 0) == 0);
  CHECK(std::memcmp(&program.word(8), "maker", 6) == 0);
  program.yield();
  CHECK(program.call(SYS_clock_gettime, clock_of_3 & 0xffffffff, program.at(64)) == -EINVAL);
}

TEST_CASE("clone refuses what it does not know, and leaves nothing behind") {
  ThreadedProgram program;
  CHECK(program.call(SYS_clone, CLONE_VM | SIGCHLD, 0x1000, 0, 0, 0) == -ENOSYS);
  CHECK(program.call(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_FILES, 0, 0, 0, 0) == -ENOSYS);
  CHECK(program.call(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_NEWPID, 0, 0, 0, 0) == -ENOSYS);
  CHECK(program.call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) ==
        -EAGAIN); // no memory for its stack
  CHECK(program.call(SYS_clone, CLONE_THREAD, 0, 0, 0, 0) == -EINVAL);
  CHECK(program.call(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0) == -EINVAL);
  CHECK(program.call(SYS_clone, thread_flags | CLONE_SETTLS, 0x1000, 0, 0, ~0ULL) == -EPERM);
  CHECK(program.call(SYS_clone, thread_flags, 0x1000, 0, 0, 0) ==
        -EAGAIN); // no memory for its stack
  CHECK(program.call(SYS_clone3, 0, 64) == -EFAULT);
  CHECK(program.call(SYS_clone3, program.at(0), 63) == -EINVAL);
  CHECK(program.call(SYS_clone3, program.at(0), 4097) == -E2BIG);
  program.word(40) = 1; // something that a later kernel would know
  CHECK(program.call(SYS_clone3, program.at(0), 200) == -E2BIG);
  program.word(0) = thread_flags;
  program.word(10) = 0x1000; // a stack without a size
  CHECK(program.call(SYS_clone3, program.at(0), 88) == -EINVAL);
  CHECK(program.call(SYS_gettid) == first_thread);
  CHECK((program.start.missing[SYS_clone / 64] >> (SYS_clone % 64) & 1) == 1);
}

TEST_CASE("what waits for a thread's end is woken, and finds 0") {
  ThreadedProgram program;
  const long made =
      program.begin([&] { program.told += 'r'; }, CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                    program.at(0), program.at(0));
  CHECK(program.word(0) == made);
  CHECK(program.futex(0, FUTEX_WAIT, program.word(0)) == 0); // pthread_join
  CHECK(program.word(0) == 0);
  CHECK(program.told == "r");
  CHECK(program.call(SYS_tgkill, first_thread, made, 0) == -ESRCH);
}

TEST_CASE("the program ends with the last thread, with the first one's status") {
  ThreadedProgram program;
  program.begin([&] {
    CHECK(program.call(SYS_tgkill, first_thread, first_thread, 0) == -ESRCH);
    program.told += 'l';
  });
  try {
    program.contexts.until_end([&] { program.call(SYS_exit, 7); });
    FAIL("it went on");
  } catch (const ProgramEnd& end) {
    CHECK(end.status == 7);
  }
  CHECK(program.told == "l");
}

} // namespace
