// SPDX-License-Identifier: MIT
// Processes of a hosted program: how they begin, end and are waited for.
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include <doctest/doctest.h>

#include "tests/support/linux/threaded_program.hpp"

namespace {

using test_support::ProgramEnd;
using test_support::ThreadedProgram;

constexpr std::uint64_t vfork_flags = CLONE_VM | CLONE_VFORK | SIGCHLD;

struct Family : ThreadedProgram {
  // A child as vfork makes it, which does that and exits with that status; its number.
  template <typename Body>
  long begin_child(Body body, int status = 0, std::uint64_t flags = vfork_flags) {
    contexts.bodies.push_back([this, body, status] {
      process->begin_thread();
      body();
      call(SYS_exit_group, status);
    });
    return call(SYS_clone, flags, 0x1000, 0, 0, 0);
  }
  long wait_for(long child, int options = 0) {
    word(0) = 0xdead;
    return call(SYS_wait4, child, at(0), options, 0);
  }
  // As the way back from a call does it.
  void pause_to_the_end() {
    CHECK(call(SYS_pause) == -EINTR);
    guest::linux::Registers registers{};
    process->go_on(registers, {});
  }
  int status() { return static_cast<int>(word(0)); }
};

TEST_CASE("a child runs before who has made it, with numbers of its own, and is waited for once") {
  Family program;
  const long made = program.begin_child(
      [&] {
        program.told += 'c';
        CHECK(program.call(SYS_getpid) == 3);
        CHECK(program.call(SYS_gettid) == 3);
        CHECK(program.call(SYS_getppid) == 2);
        CHECK(program.call(SYS_getpgrp) == 2);
        CHECK(program.call(SYS_getsid, 0) == 2);
        CHECK(program.wait_for(-1) == -ECHILD);
      },
      7);
  program.told += 'p';
  CHECK(program.told == "cp");
  CHECK(made == 3);
  CHECK(program.call(SYS_getpid) == 2);
  CHECK(program.call(SYS_kill, 3, 0) == 0); // it has ended, but nobody has waited
  CHECK(program.wait_for(4) == -ECHILD);
  CHECK(program.wait_for(-1) == 3);
  CHECK(WIFEXITED(program.status()));
  CHECK(WEXITSTATUS(program.status()) == 7);
  CHECK(program.wait_for(-1) == -ECHILD);
  CHECK(program.call(SYS_kill, 3, 0) == -ESRCH);
}

// By the outside all signals are the guest's then.
TEST_CASE("a program is to be interrupted while there are other processes, whatever they handle") {
  Family program;
  CHECK_FALSE(program.process->wants_interrupts());
  CHECK(program.machine.handled == 0);
  const auto all_are_its_own = [&] {
    return program.process->wants_interrupts() &&
           program.machine.handled == ~guest::linux::SignalSet{0};
  };
  bool in_child = false;
  const long child = program.begin_child([&] {
    program.yield(); // the parent waits from here on
    in_child = all_are_its_own();
  });
  CHECK(in_child);
  CHECK(program.wait_for(child) == child);
  CHECK(program.process->wants_interrupts() == all_are_its_own()); // forgotten or not
}

TEST_CASE("what a child opens, closes and sets is its own; what was open before is shared") {
  Family program;
  const auto path = program.at(16);
  std::memcpy(&program.word(16), "/tmp/f", 7);
  const long file = program.call(SYS_open, path, O_CREAT | O_RDWR, 0600);
  REQUIRE(file >= 0);
  CHECK(program.call(SYS_write, file, path, 5) == 5);
  const long made = program.begin_child([&] {
    CHECK(program.call(SYS_lseek, file, 2, SEEK_SET) == 2);
    CHECK(program.call(SYS_close, file) == 0);
    CHECK(program.call(SYS_dup2, 1, 40) == 40);
    CHECK(program.call(SYS_umask, 0077) == 022);
    std::memcpy(&program.word(32), "/tmp", 5);
    CHECK(program.call(SYS_chdir, program.at(32)) == 0);
    program.word(64) = 1; // SIG_IGN of a struct sigaction that ignores
    program.word(65) = 0;
    CHECK(program.call(SYS_rt_sigaction, SIGTERM, program.at(64), 0, 8) == 0);
  });
  CHECK(program.call(SYS_lseek, file, 0, SEEK_CUR) == 2);
  CHECK(program.call(SYS_fcntl, 40, F_GETFD) == -EBADF);
  CHECK(program.call(SYS_umask, 022) == 022);
  CHECK(program.call(SYS_getcwd, program.at(128), 64) == 2);
  CHECK(program.call(SYS_rt_sigaction, SIGTERM, 0, program.at(200), 8) == 0);
  CHECK(program.word(200) == 0);
  CHECK(program.wait_for(made) == made);
}

TEST_CASE("who waits for a child goes on when it ends, and is told by a signal, too") {
  Family program;
  long waited = 0;
  program.begin([&] { waited = program.wait_for(-1); });
  const long made = program.begin_child([&] { program.told += 'c'; }, 1);
  program.yield();
  CHECK(waited == made);
  CHECK(WEXITSTATUS(program.status()) == 1);
  program.word(8) = 1U << (SIGCHLD - 1);
  program.word(9) = 0;
  CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(8), 0, 8) == 0);
  program.begin_child([] {}, 9);
  CHECK(program.call(SYS_rt_sigpending, program.at(10), 8) == 0);
  CHECK(program.word(10) == 1U << (SIGCHLD - 1)); // blocked ones wait, though nobody handles them
}

TEST_CASE("children of who ignores SIGCHLD are not waited for") {
  Family program;
  program.word(64) = 1; // SIG_IGN
  CHECK(program.call(SYS_rt_sigaction, SIGCHLD, program.at(64), 0, 8) == 0);
  program.begin_child([] {}, 3);
  CHECK(program.wait_for(-1) == -ECHILD);
}

TEST_CASE("WNOHANG does not wait, and wrong options are none") {
  Family program;
  CHECK(program.wait_for(-1, WNOHANG) == -ECHILD);
  CHECK(program.wait_for(-1, 0x10) == -EINVAL);
  CHECK(program.call(SYS_wait4, INT32_MIN, 0, 0, 0) == -ESRCH);
  const long made = program.begin_child([] {}, 2);
  CHECK(program.call(SYS_wait4, made, 8, 0, 0) == -EFAULT); // no such address; it is gone
  CHECK(program.wait_for(made) == -ECHILD);
}

TEST_CASE("waitid tells what has become of a child, and leaves it there if that is wanted") {
  Family program;
  const long made = program.begin_child([] {}, 5);
  for (const int options : {WEXITED | WNOWAIT, WEXITED}) {
    std::memset(&program.word(100), 0xff, 128);
    CHECK(program.call(SYS_waitid, P_PID, made, program.at(100), options, 0) == 0);
    CHECK(program.word(100) == SIGCHLD);
    CHECK(program.word(102) == CLD_EXITED);
    CHECK(program.word(104) == made);
    CHECK(program.word(106) == 5);
  }
  CHECK(program.call(SYS_waitid, P_PID, made, program.at(100), WEXITED, 0) == -ECHILD);
}

TEST_CASE("groups and sessions are those of Linux") {
  Family program;
  CHECK(program.call(SYS_setpgid, 0, 0) == -EPERM); // it leads a session
  CHECK(program.call(SYS_setsid) == -EPERM);
  CHECK(program.call(SYS_setpgid, 0, -1) == -EINVAL);
  CHECK(program.call(SYS_setpgid, 77, 0) == -ESRCH);
  CHECK(program.call(SYS_getpgid, 77) == -ESRCH);
  const long made = program.begin_child([&] {
    CHECK(program.call(SYS_setpgid, 0, 50) == -EPERM); // there is no such group
    CHECK(program.call(SYS_setpgid, 0, 0) == 0);
    CHECK(program.call(SYS_getpgrp) == 3);
    CHECK(program.call(SYS_setsid) == -EPERM); // it leads a group
    CHECK(program.call(SYS_setpgid, 0, 2) == 0);
    CHECK(program.call(SYS_setsid) == 3);
    CHECK(program.call(SYS_getsid, 0) == 3);
    CHECK(program.call(SYS_setpgid, 2, 3) == -ESRCH); // no child of it
    CHECK(program.call(SYS_kill, 0, 0) == 0);
    CHECK(program.call(SYS_kill, -1, 0) == -ESRCH); // there is only the first besides
    CHECK(program.call(SYS_kill, -2, 0) == 0);
    CHECK(program.call(SYS_kill, -9, 0) == -ESRCH);
  });
  CHECK(program.call(SYS_wait4, -3, program.at(0), 0, 0) == made);
}

TEST_CASE("a child that a signal ends says by which") {
  Family program;
  const long made = program.begin_child([&] {
    CHECK(program.call(SYS_kill, 3, SIGKILL) == 0);
    FAIL("it goes on");
  });
  CHECK(program.wait_for(made) == made);
  CHECK(WIFSIGNALED(program.status()));
  CHECK(WTERMSIG(program.status()) == SIGKILL);
}

// Of one that is made when there is a second thread.
constexpr long child = 4;

TEST_CASE("a child that stops does not run until it is continued, and who waits is told both") {
  Family program;
  program.begin([&] {
    CHECK(program.wait_for(-1, WUNTRACED) == child);
    CHECK(WIFSTOPPED(program.status()));
    CHECK(WSTOPSIG(program.status()) == SIGSTOP);
    CHECK(program.wait_for(child, WUNTRACED | WCONTINUED | WNOHANG) == 0); // it was told
    program.yield();
    program.told += 's';
    CHECK(program.call(SYS_kill, child, SIGCONT) == 0);
    CHECK(program.wait_for(child, WUNTRACED | WNOHANG) == 0); // nobody asked for that
    CHECK(program.wait_for(child, WCONTINUED) == child);
    CHECK(WIFCONTINUED(program.status()));
    CHECK(program.wait_for(child) == child);
    CHECK(WEXITSTATUS(program.status()) == 4);
    program.told += 'e';
  });
  program.begin_child(
      [&] {
        CHECK(program.call(SYS_kill, child, SIGSTOP) == 0);
        program.told += 'c';
      },
      4);
  program.yield();
  CHECK(program.told == "sce");
}

TEST_CASE("what ends a stopped child waits until it goes on, but for SIGKILL") {
  for (const int signal : {SIGTERM, SIGKILL}) {
    CAPTURE(signal);
    Family program;
    program.begin([&] {
      CHECK(program.wait_for(child, WUNTRACED) == child);
      CHECK(program.call(SYS_kill, child, signal) == 0);
      program.yield();
      if (signal != SIGKILL) {
        CHECK(program.wait_for(child, WNOHANG) == 0);
        CHECK(program.call(SYS_kill, child, SIGCONT) == 0);
      }
      CHECK(program.wait_for(child) == child);
      CHECK(WIFSIGNALED(program.status()));
      CHECK(WTERMSIG(program.status()) == signal);
      program.told += 'e';
    });
    program.begin_child([&] {
      CHECK(program.call(SYS_kill, child, SIGSTOP) == 0);
      guest::linux::Registers registers{};
      program.process->go_on(registers, {});
      FAIL("it goes on");
    });
    program.yield();
    CHECK(program.told == "e");
  }
}

TEST_CASE("a child that is stopped while it waits leaves to others what comes") {
  Family program;
  REQUIRE(program.call(SYS_pipe2, program.at(16), 0) == 0);
  const auto from = static_cast<int>(program.word(16));
  const auto to = static_cast<int>(program.word(17));
  program.begin([&] {
    program.yield(); // the child begins to wait
    CHECK(program.call(SYS_kill, child, SIGSTOP) == 0);
    CHECK(program.call(SYS_write, to, program.at(16), 5) == 5);
    program.yield();
    program.told += 's';
    CHECK(program.call(SYS_read, from, program.at(32), 4) == 4);
    CHECK(program.call(SYS_kill, child, SIGCONT) == 0);
    CHECK(program.wait_for(child) == child);
  });
  program.begin_child([&] {
    program.told += 'r';
    CHECK(program.call(SYS_read, from, program.at(40), 8) == 1);
    program.told += 'c';
  });
  program.yield();
  CHECK(program.told == "rsc");
}

TEST_CASE("a child's stop comes as a signal, unless its parent wants to know of ends alone") {
  for (const std::uint32_t flags : {0U, std::uint32_t{SA_NOCLDSTOP}}) {
    CAPTURE(flags);
    Family program;
    const std::uint32_t only_child = 1U << (SIGCHLD - 1);
    program.word(8) = only_child;
    program.word(9) = 0;
    CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(8), 0, 8) == 0);
    std::memset(&program.word(64), 0, 32); // a struct sigaction
    program.word(66) = flags;
    CHECK(program.call(SYS_rt_sigaction, SIGCHLD, program.at(64), 0, 8) == 0);
    program.begin([&] {
      CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(8), 0, 8) == 0);
      std::memset(&program.word(100), 0xff, 128);
      CHECK(program.call(SYS_waitid, P_PID, child, program.at(100), WSTOPPED, 0) == 0);
      CHECK(program.word(102) == CLD_STOPPED);
      CHECK(program.word(104) == child);
      CHECK(program.word(106) == SIGTSTP);
      CHECK(program.call(SYS_rt_sigpending, program.at(10), 8) == 0);
      CHECK(program.word(10) == (flags == 0 ? only_child : 0));
      CHECK(program.call(SYS_kill, child, SIGCONT) == 0);
    });
    program.begin_child([&] { CHECK(program.call(SYS_kill, child, SIGTSTP) == 0); });
  }
}

TEST_CASE("signals to stop and to go on undo each other where they wait") {
  Family program;
  program.begin_child([&] {
    program.word(8) = 1U << (SIGTSTP - 1) | 1U << (SIGCONT - 1);
    program.word(9) = 0;
    CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(8), 0, 8) == 0);
    CHECK(program.call(SYS_kill, 3, SIGTSTP) == 0);
    CHECK(program.call(SYS_rt_sigpending, program.at(10), 8) == 0);
    CHECK(program.word(10) == 1U << (SIGTSTP - 1));
    CHECK(program.call(SYS_kill, 3, SIGCONT) == 0);
    CHECK(program.call(SYS_rt_sigpending, program.at(10), 8) == 0);
    CHECK((program.word(10) & (1U << (SIGTSTP - 1))) == 0);
    program.told += 'c';
  });
  CHECK(program.told == "c");
}

TEST_CASE("with the first process the guest ends, whoever ends it") {
  Family program;
  try {
    program.contexts.until_end([&] {
      program.begin_child([&] { program.call(SYS_kill, 2, SIGTERM); });
      FAIL("it goes on");
    });
  } catch (const ProgramEnd& end) {
    CHECK(end.status == 128 + SIGTERM);
  }
}

TEST_CASE("a program with children is told all signals from outside") {
  Family program;
  program.begin_child([&] { CHECK(program.machine.handled == ~std::uint64_t{0}); });
  CHECK(program.wait_for(-1) > 0);
}

TEST_CASE("there are not more processes than there may be, and none is left behind") {
  Family program;
  long made = 0;
  int count = 0;
  while (made >= 0) {
    made = program.begin_child([] {});
    count += made >= 0 ? 1 : 0;
  }
  CHECK(made == -EAGAIN);
  CHECK(count == 255);
  program.contexts.bodies.clear();
  const std::uint64_t frames = program.memory.frames_in_use();
  while (program.wait_for(-1) > 0) {
    --count;
  }
  CHECK(count == 0);
  CHECK(program.begin_child([] {}) > 0);
  CHECK(program.memory.frames_in_use() <= frames);
}

constexpr std::uint64_t fork_flags = SIGCHLD;

TEST_CASE("a forked child goes on beside its parent, in memory of its own") {
  Family program;
  program.word(100) = 1;
  const long made = program.begin_child(
      [&] {
        CHECK(program.call(SYS_getppid) == 2);
        CHECK(program.word(100) == 1);
        program.word(100) = 2;
        program.told += 'c';
        program.yield();
        CHECK(program.word(100) == 2);
        program.told += 'd';
      },
      6, fork_flags);
  program.told += 'p';
  program.word(100) = 3;
  program.yield();
  CHECK(program.word(100) == 3);
  CHECK(program.wait_for(made) == made);
  CHECK(WEXITSTATUS(program.status()) == 6);
  CHECK(program.word(100) == 3);
  CHECK(program.told == "cpd"); // the child first
}

TEST_CASE("the child's number is told in the child's memory alone") {
  Family program;
  program.word(50) = 77;
  program.contexts.bodies.push_back([&] {
    program.process->begin_thread();
    CHECK(program.word(50) == 3);
    program.call(SYS_exit_group, 0);
  });
  CHECK(program.call(SYS_clone, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, 0,
                     program.at(50), 0) == 3);
  CHECK(program.word(50) == 77);
  CHECK(program.wait_for(-1) == 3);
  CHECK(program.word(50) == 77);
}

TEST_CASE("shared memory is one for parent and child, and its futexes are, too") {
  Family program;
  const auto shared = static_cast<std::uint64_t>(
      program.call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  auto& word = *reinterpret_cast<std::uint32_t*>(shared); // NOLINT
  word = 1;
  program.begin_child(
      [&] {
        program.yield(); // until the parent waits
        program.yield(); // and its thread
        CHECK(word == 1);
        word = 2;
        CHECK(program.call(SYS_futex, shared, FUTEX_WAKE, 1) == 1);
        CHECK(program.call(SYS_futex, program.at(8), FUTEX_WAKE, 1) == 0); // the other's own
      },
      0, fork_flags);
  long waited = -1;
  program.begin([&] { waited = program.futex(8, FUTEX_WAIT, program.word(8)); });
  CHECK(program.call(SYS_futex, shared, FUTEX_WAIT, 1, 0) == 0);
  CHECK(word == 2);
  CHECK(waited == -1);
  CHECK(program.futex(8, FUTEX_WAKE, 1) == 1);
  program.yield();
  CHECK(waited == 0);
  CHECK(program.wait_for(-1) == 3);
}

TEST_CASE("a child of a child belongs to nobody when its parent has ended") {
  Family program;
  long grandchild = 0;
  program.begin_child(
      [&] {
        grandchild = program.begin_child(
            [&] {
              program.yield();
              CHECK(program.call(SYS_getppid) == 1);
              program.told += 'g';
            },
            0, fork_flags);
      },
      0, fork_flags);
  CHECK(program.wait_for(-1) == 3);
  CHECK(program.wait_for(-1) == -ECHILD);
  while (program.told.empty()) {
    program.yield();
  }
  program.yield();
  CHECK(program.call(SYS_kill, 4, 0) == -ESRCH);
}

TEST_CASE("memory of children goes back") {
  Family program;
  const std::uint64_t frames = program.memory.frames_in_use();
  for (int round = 0; round < 20; ++round) {
    program.begin_child([&] { program.word(1000) = 5; }, 0,
                        round % 2 == 0 ? fork_flags : vfork_flags);
    program.word(1000) = 6;
    CHECK(program.wait_for(-1) > 0);
  }
  CHECK(program.memory.frames_in_use() <= frames);
}

TEST_CASE("who is killed while it waits ends all the same, with all of its threads") {
  Family program;
  const long made = program.begin_child(
      [&] {
        program.begin([&] { program.pause_to_the_end(); });
        program.pause_to_the_end();
        FAIL("it goes on");
      },
      0, fork_flags);
  program.yield();
  CHECK(program.call(SYS_kill, made, SIGTERM) == 0);
  CHECK(program.wait_for(made) == made);
  CHECK(WTERMSIG(program.status()) == SIGTERM);
}

} // namespace
