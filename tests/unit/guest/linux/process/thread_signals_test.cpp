// SPDX-License-Identifier: MIT
// Threads of a hosted program: whose a signal is.
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include <doctest/doctest.h>

#include "tests/support/linux/threaded_program.hpp"

namespace {

using test_support::first_thread;
using test_support::ThreadedProgram;

struct Action { // the kernel's struct sigaction
  std::uint64_t handler, flags, restorer, mask;
};

TEST_CASE(
    "a signal for one thread ends its wait alone; one for all is taken by who lets it through") {
  ThreadedProgram program;
  const Action action{.handler = 0x1000, .flags = 0, .restorer = 0, .mask = 0};
  std::memcpy(&program.word(100), &action, sizeof action);
  CHECK(program.call(SYS_rt_sigaction, SIGUSR1, program.at(100), 0, 8) == 0);
  const std::uint64_t usr1 = std::uint64_t{1} << (SIGUSR1 - 1);
  std::memcpy(&program.word(110), &usr1, sizeof usr1);
  for (const char name : {'a', 'b'}) {
    program.begin([&program, name] {
      if (name == 'a') {
        CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
      }
      const long answer = program.futex(0, FUTEX_WAIT, 0);
      program.told += name;
      program.told += answer == -EINTR ? '!' : '.';
    });
  }
  program.yield();
  SUBCASE("for one") {
    CHECK(program.call(SYS_tgkill, first_thread, 4, SIGUSR1) == 0);
    CHECK_FALSE(program.process->is_diverted()); // not ours
    program.yield();
    CHECK(program.told == "b!");
  }
  SUBCASE("for one that blocks it") {
    CHECK(program.call(SYS_tgkill, first_thread, 3, SIGUSR1) == 0);
    program.yield();
    CHECK(program.told.empty());
  }
  SUBCASE("for all") {
    CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
    CHECK(program.call(SYS_kill, first_thread, SIGUSR1) == 0);
    program.yield();
    CHECK(program.told == "b!");
  }
  SUBCASE("to nobody") {
    CHECK(program.call(SYS_tgkill, first_thread, 99, SIGUSR1) == -ESRCH);
    CHECK(program.call(SYS_tgkill, 99, 3, SIGUSR1) == -ESRCH);
    CHECK(program.call(SYS_tgkill, first_thread, 0, SIGUSR1) == -EINVAL);
  }
}

TEST_CASE("what all but one thread block is the host's to end the program by, until all block it") {
  ThreadedProgram program;
  const std::uint64_t term = std::uint64_t{1} << (SIGTERM - 1);
  std::memcpy(&program.word(110), &term, sizeof term);
  program.begin([&] { program.yield(); });
  CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
  CHECK((program.machine.handled & term) == 0); // the other one does not
  program.yield();
  program.yield();
  CHECK((program.machine.handled & term) != 0); // it has ended
}

TEST_CASE("a timer for a thread whose signal it has not taken yet counts that, whoever runs") {
  ThreadedProgram program;
  const std::uint64_t usr1 = std::uint64_t{1} << (SIGUSR1 - 1);
  std::memcpy(&program.word(110), &usr1, sizeof usr1);
  CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
  program.begin([&] {
    program.yield();
    program.timespec_at(60, 0);
    CHECK(program.call(SYS_rt_sigtimedwait, program.at(110), 0, program.at(60), 8) == SIGUSR1);
    CHECK(program.call(SYS_timer_getoverrun, program.word(50)) == 2);
    CHECK(program.call(SYS_rt_sigtimedwait, program.at(110), 0, program.at(60), 8) == -EAGAIN);
    program.told += 'o';
  });
  struct {
    std::uint64_t value;
    std::int32_t signal, notify, thread, rest[11];
  } event{.value = 0, .signal = SIGUSR1, .notify = SIGEV_THREAD_ID, .thread = 3, .rest = {}};
  std::memcpy(&program.word(120), &event, sizeof event);
  CHECK(program.call(SYS_timer_create, CLOCK_MONOTONIC, program.at(120), program.at(50)) == 0);
  const itimerspec every{.it_interval = {0, 1000}, .it_value = {0, 1000}};
  std::memcpy(&program.word(140), &every, sizeof every);
  program.yield();
  CHECK(program.call(SYS_timer_settime, program.word(50), 0, program.at(140), 0) == 0);
  for (int round = 0; round < 3; ++round) {
    program.machine.now += 1000;
    program.process->catch_up();
  }
  program.yield();
  CHECK(program.told == "o");
}

// A thread on another vCPU may compute for ever without coming by.
TEST_CASE("other vCPUs are told of a timer of used time, and of barriers, at once") {
  ThreadedProgram program;
  const std::array<std::int64_t, 4> once{0, 0, 0, 20'000}; // struct itimerval
  std::memcpy(&program.word(140), &once, sizeof once);
  CHECK(program.call(SYS_setitimer, ITIMER_REAL, program.at(140), 0) == 0);
  CHECK(program.machine.stops == 0); // its own alarm will do
  for (const int timer : {ITIMER_VIRTUAL, ITIMER_PROF}) {
    const std::uint64_t stops = program.machine.stops;
    CHECK(program.call(SYS_setitimer, timer, program.at(140), 0) == 0);
    CHECK(program.machine.stops == stops + 1);
  }
  const std::uint64_t stops = program.machine.stops;
  CHECK(program.call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == -EPERM);
  CHECK(program.call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
  CHECK(program.machine.stops == stops);
  CHECK(program.call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
  CHECK(program.call(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0);
  CHECK(program.machine.stops == stops + 2);
}

TEST_CASE("sigwait of one thread gets what comes for all") {
  ThreadedProgram program;
  const std::uint64_t usr1 = std::uint64_t{1} << (SIGUSR1 - 1);
  std::memcpy(&program.word(110), &usr1, sizeof usr1);
  CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
  program.begin([&] {
    CHECK(program.call(SYS_rt_sigtimedwait, program.at(110), 0, 0, 8) == SIGUSR1);
    program.told += 's';
  });
  program.yield();
  CHECK(program.call(SYS_kill, first_thread, SIGUSR1) == 0);
  program.yield();
  CHECK(program.told == "s");
}

} // namespace
