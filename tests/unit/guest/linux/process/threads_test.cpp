// SPDX-License-Identifier: MIT
// Threads of a hosted program: what clone, futex, exit and signals do among them.
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string>

#include "tests/support/linux/hosted_process.hpp"

#include <doctest/doctest.h>

namespace {

using test_support::HostedProcess;
using test_support::ProgramEnd;

constexpr std::uint64_t flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
constexpr std::uint64_t first = 2; // number of the first thread

struct Program : HostedProcess {
  Program() {
    memory_at = static_cast<std::uint64_t>(
        call(SYS_mmap, 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  std::uint32_t& word(std::size_t index) {
    return reinterpret_cast<std::uint32_t*>(memory_at)[index]; // NOLINT
  }
  std::uint64_t at(std::size_t index) { return memory_at + index * sizeof(std::uint32_t); }
  // A thread that does that and exits; its number.
  template <typename Body>
  long begin(Body body, std::uint64_t more = 0, std::uint64_t parent_at = 0,
             std::uint64_t child_at = 0) {
    contexts.bodies.push_back([this, body] {
      process->begin_thread();
      body();
      call(SYS_exit, 0);
    });
    return call(SYS_clone, flags | more, 0x1000, parent_at, child_at, 0x2000);
  }
  void yield() { CHECK(call(SYS_sched_yield) == 0); }
  long futex(std::size_t index, int operation, std::uint64_t value, std::uint64_t fourth = 0,
             std::uint64_t second = 0, std::uint64_t last = 0) {
    return call(SYS_futex, at(index), operation, value, fourth, second, last);
  }
  // Of a time from now.
  std::uint64_t timespec_at(std::size_t index, std::uint64_t ns) {
    const timespec time{.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                        .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
    std::memcpy(&word(index), &time, sizeof time);
    return at(index);
  }

  std::uint64_t memory_at = 0;
  std::string told;
};

TEST_CASE("a thread begins with the stack and the data that it was given, and tells its number") {
  Program program;
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
  CHECK(program.call(SYS_gettid) == first);
  CHECK(program.call(SYS_getpid) == first);
}

TEST_CASE("a thread has a name of its own, at first its maker's, and a clock of what it has used") {
  Program program;
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

TEST_CASE("clone refuses processes and nonsense, and leaves nothing behind") {
  Program program;
  CHECK(program.call(SYS_clone, SIGCHLD, 0, 0, 0, 0) == -ENOSYS);
  CHECK(program.call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == -ENOSYS);
  CHECK(program.call(SYS_clone, CLONE_THREAD, 0, 0, 0, 0) == -EINVAL);
  CHECK(program.call(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0) == -EINVAL);
  CHECK(program.call(SYS_clone, flags | CLONE_SETTLS, 0x1000, 0, 0, ~0ULL) == -EPERM);
  CHECK(program.call(SYS_clone, flags, 0x1000, 0, 0, 0) == -EAGAIN); // no memory for its stack
  CHECK(program.call(SYS_clone3, 0, 64) == -EFAULT);
  CHECK(program.call(SYS_clone3, program.at(0), 63) == -EINVAL);
  CHECK(program.call(SYS_clone3, program.at(0), 4097) == -E2BIG);
  program.word(40) = 1; // something that a later kernel would know
  CHECK(program.call(SYS_clone3, program.at(0), 200) == -E2BIG);
  program.word(0) = flags;
  program.word(10) = 0x1000; // a stack without a size
  CHECK(program.call(SYS_clone3, program.at(0), 88) == -EINVAL);
  CHECK(program.call(SYS_gettid) == first);
  CHECK((program.start.missing[SYS_clone / 64] >> (SYS_clone % 64) & 1) == 1);
}

TEST_CASE("what waits for a thread's end is woken, and finds 0") {
  Program program;
  const long made =
      program.begin([&] { program.told += 'r'; }, CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                    program.at(0), program.at(0));
  CHECK(program.word(0) == made);
  CHECK(program.futex(0, FUTEX_WAIT, program.word(0)) == 0); // pthread_join
  CHECK(program.word(0) == 0);
  CHECK(program.told == "r");
  CHECK(program.call(SYS_tgkill, first, made, 0) == -ESRCH);
}

TEST_CASE("the program ends with the last thread, with the first one's status") {
  Program program;
  program.begin([&] {
    CHECK(program.call(SYS_tgkill, first, first, 0) == -ESRCH);
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

TEST_CASE(
    "futex wakes in order, as many as asked for, by their bits; a value that changed is told") {
  Program program;
  program.word(0) = 5;
  CHECK(program.futex(0, FUTEX_WAIT, 4) == -EAGAIN);
  CHECK(program.futex(0, FUTEX_WAIT, 5) == -EDEADLK); // nobody is there to wake it
  for (const char name : {'a', 'b', 'c'}) {
    program.begin([&program, name] {
      const std::uint64_t bits = name == 'b' ? 2 : 1;
      CHECK(program.futex(0, FUTEX_WAIT_BITSET, 5, 0, 0, bits) == 0);
      program.told += name;
    });
  }
  program.yield();
  CHECK(program.futex(0, FUTEX_WAKE_BITSET, 1, 0, 0, 0) == -EINVAL);
  CHECK(program.futex(0, FUTEX_WAKE_BITSET, 9, 0, 0, 2) == 1);
  program.yield();
  CHECK(program.told == "b");
  CHECK(program.futex(0, FUTEX_WAKE, 1) == 1);
  program.yield();
  CHECK(program.told == "ba");
  CHECK(program.futex(0, FUTEX_WAKE, 9) == 1);
  CHECK(program.futex(0, FUTEX_WAKE, 9) == 0);
  program.yield();
  CHECK(program.told == "bac");
}

TEST_CASE("futex time-outs: relative, until then, and of either clock") {
  Program program;
  const std::uint64_t began = program.machine.now;
  CHECK(program.futex(0, FUTEX_WAIT, 0, program.timespec_at(8, 1500)) == -ETIMEDOUT);
  CHECK(program.machine.now == began + 1500);
  CHECK(program.futex(0, FUTEX_WAIT_BITSET, 0, program.timespec_at(8, began), 0, 1) == -ETIMEDOUT);
  CHECK(program.machine.now == began + 1500); // that has passed
  CHECK(program.futex(0, FUTEX_WAIT_BITSET, 0, program.timespec_at(8, began + 9000), 0, 1) ==
        -ETIMEDOUT);
  CHECK(program.machine.now == began + 9000);
  program.word(8 + 2) = 1'000'000'000; // its nanoseconds
  CHECK(program.futex(0, FUTEX_WAIT, 0, program.at(8)) == -EINVAL);
  CHECK(program.futex(0, FUTEX_WAIT, 0, 16) == -EFAULT);
  CHECK(program.call(SYS_futex, program.at(0) + 1, FUTEX_WAIT, 0, 0, 0, 0) == -EINVAL);
}

TEST_CASE("who is moved to another word waits there") {
  Program program;
  for (const char name : {'a', 'b', 'c'}) {
    program.begin([&program, name] {
      CHECK(program.futex(0, FUTEX_WAIT, 0) == 0);
      program.told += name;
    });
  }
  program.yield();
  CHECK(program.futex(0, FUTEX_CMP_REQUEUE, 1, 9, program.at(4), 1) == -EAGAIN);
  CHECK(program.futex(0, FUTEX_CMP_REQUEUE, 1, 9, program.at(4), 0) == 3);
  program.yield();
  CHECK(program.told == "a");
  CHECK(program.futex(0, FUTEX_WAKE, 9) == 0);
  CHECK(program.futex(4, FUTEX_WAKE, 9) == 2);
  program.yield();
  CHECK(program.told == "abc");
}

TEST_CASE("FUTEX_WAKE_OP changes one word and wakes at both") {
  Program program;
  program.word(4) = 3;
  for (const std::size_t index : {0U, 4U}) {
    program.begin([&program, index] {
      CHECK(program.futex(index, FUTEX_WAIT, program.word(index)) == 0);
      program.told += static_cast<char>('0' + index);
    });
  }
  program.yield();
  const std::uint64_t add_2_if_3 = FUTEX_OP(FUTEX_OP_ADD, 2, FUTEX_OP_CMP_EQ, 3);
  CHECK(program.futex(0, FUTEX_WAKE_OP, 1, 1, program.at(4), add_2_if_3) == 2);
  CHECK(program.word(4) == 5);
  program.yield();
  CHECK(program.told == "04");
  CHECK(program.futex(0, FUTEX_WAKE_OP, 1, 1, program.at(4), add_2_if_3) == 0);
  CHECK(program.word(4) == 7);
}

TEST_CASE("a lock that the kernel hands over goes to who has waited longest") {
  Program program;
  CHECK(program.futex(0, FUTEX_LOCK_PI, 0) == 0);
  CHECK(program.word(0) == first);
  CHECK(program.futex(0, FUTEX_LOCK_PI, 0) == -EDEADLK);
  for (const char name : {'a', 'b'}) {
    program.begin([&program, name] {
      CHECK(program.futex(0, FUTEX_TRYLOCK_PI, 0) == -EAGAIN);
      CHECK(program.futex(0, FUTEX_LOCK_PI, 0) == 0);
      CHECK((program.word(0) & FUTEX_TID_MASK) == program.call(SYS_gettid));
      program.told += name;
      CHECK(program.futex(0, FUTEX_UNLOCK_PI, 0) == 0);
    });
  }
  program.yield();
  CHECK(program.word(0) == (first | FUTEX_WAITERS));
  CHECK(program.futex(0, FUTEX_UNLOCK_PI, 0) == 0);
  CHECK(program.word(0) == (3 | FUTEX_WAITERS));
  CHECK(program.futex(0, FUTEX_UNLOCK_PI, 0) == -EPERM);
  program.yield();
  program.yield();
  CHECK(program.told == "ab");
  CHECK(program.word(0) == 0);
}

TEST_CASE("a thread that ends leaves its robust locks to others, and its list may be anything") {
  Program program;
  // head: next, offset, pending; an entry at word 16, whose lock is 8 bytes behind it
  const auto put = [&](std::size_t index, std::uint64_t value) {
    std::memcpy(&program.word(index), &value, sizeof value);
  };
  SUBCASE("a list") {
    put(0, program.at(16));
    put(2, 8);
    put(4, program.at(20)); // also the one at hand
    put(16, program.at(0));
    program.begin([&] {
      CHECK(program.call(SYS_set_robust_list, program.at(0), 23) == -EINVAL);
      CHECK(program.call(SYS_set_robust_list, program.at(0), 24) == 0);
      program.word(18) = 3 | FUTEX_WAITERS;
      program.word(22) = 3;
      program.yield();
      program.yield(); // until somebody waits
    });
    program.yield();
    program.begin([&] {
      CHECK(program.futex(18, FUTEX_WAIT, 3 | FUTEX_WAITERS) == 0);
      program.told += 'w';
    });
    program.yield();
    program.yield();
    program.yield();
    CHECK(program.word(18) == (FUTEX_WAITERS | FUTEX_OWNER_DIED));
    CHECK(program.word(22) == FUTEX_OWNER_DIED);
    CHECK(program.told == "w");
  }
  SUBCASE("one that goes round") {
    put(0, program.at(16));
    put(16, program.at(16));
    program.begin([&] { CHECK(program.call(SYS_set_robust_list, program.at(0), 24) == 0); });
    program.yield();
  }
  SUBCASE("one that leads nowhere") {
    put(0, 16);
    put(2, ~0ULL);
    put(4, ~0ULL);
    program.begin([&] { CHECK(program.call(SYS_set_robust_list, program.at(0), 24) == 0); });
    program.yield();
  }
  SUBCASE("no list") {
    program.begin([&] { CHECK(program.call(SYS_set_robust_list, 8, 24) == 0); });
    program.yield();
  }
  CHECK(program.call(SYS_tgkill, first, 3, 0) == -ESRCH);
}

// ---- signals -----------------------------------------------------------------------------------

struct Action { // the kernel's struct sigaction
  std::uint64_t handler, flags, restorer, mask;
};

TEST_CASE(
    "a signal for one thread ends its wait alone; one for all is taken by who lets it through") {
  Program program;
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
    CHECK(program.call(SYS_tgkill, first, 4, SIGUSR1) == 0);
    CHECK_FALSE(program.process->is_diverted()); // not ours
    program.yield();
    CHECK(program.told == "b!");
  }
  SUBCASE("for one that blocks it") {
    CHECK(program.call(SYS_tgkill, first, 3, SIGUSR1) == 0);
    program.yield();
    CHECK(program.told.empty());
  }
  SUBCASE("for all") {
    CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
    CHECK(program.call(SYS_kill, first, SIGUSR1) == 0);
    program.yield();
    CHECK(program.told == "b!");
  }
  SUBCASE("to nobody") {
    CHECK(program.call(SYS_tgkill, first, 99, SIGUSR1) == -ESRCH);
    CHECK(program.call(SYS_tgkill, 99, 3, SIGUSR1) == -ESRCH);
    CHECK(program.call(SYS_tgkill, first, 0, SIGUSR1) == -EINVAL);
  }
}

TEST_CASE("what all but one thread block is the host's to end the program by, until all block it") {
  Program program;
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
  Program program;
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

TEST_CASE("sigwait of one thread gets what comes for all") {
  Program program;
  const std::uint64_t usr1 = std::uint64_t{1} << (SIGUSR1 - 1);
  std::memcpy(&program.word(110), &usr1, sizeof usr1);
  CHECK(program.call(SYS_rt_sigprocmask, SIG_BLOCK, program.at(110), 0, 8) == 0);
  program.begin([&] {
    CHECK(program.call(SYS_rt_sigtimedwait, program.at(110), 0, 0, 8) == SIGUSR1);
    program.told += 's';
  });
  program.yield();
  CHECK(program.call(SYS_kill, first, SIGUSR1) == 0);
  program.yield();
  CHECK(program.told == "s");
}

// ---- files -------------------------------------------------------------------------------------

TEST_CASE("a pipe wakes who waits for it, also when its descriptor is closed meanwhile") {
  Program program;
  CHECK(program.call(SYS_pipe2, program.at(0), 0) == 0);
  const std::uint32_t reader = program.word(0);
  const std::uint32_t writer = program.word(1);
  program.begin([&] {
    const long got = program.call(SYS_read, reader, program.at(64), 16);
    program.told += std::to_string(got);
  });
  program.yield();
  program.word(32) = 7;
  SUBCASE("written") {
    CHECK(program.call(SYS_write, writer, program.at(32), 4) == 4);
    program.yield();
    CHECK(program.told == "4");
    CHECK(program.word(64) == 7);
  }
  SUBCASE("closed at the other end") {
    CHECK(program.call(SYS_close, writer) == 0);
    program.yield();
    CHECK(program.told == "0");
  }
  SUBCASE("closed under its feet") {
    CHECK(program.call(SYS_close, reader) == 0);
    CHECK(program.call(SYS_write, writer, program.at(32), 4) == 4); // it is there still
    program.yield();
    CHECK(program.told == "4");
    CHECK(program.call(SYS_read, reader, program.at(64), 16) == -EBADF);
  }
  SUBCASE("its memory is unmapped under its feet") {
    const std::uint64_t page = (program.at(64) & ~0xfffULL);
    program.word(2000) = 9;
    CHECK(program.call(SYS_munmap, page, 4096) == 0);
    CHECK(program.call(SYS_write, writer, program.at(2000), 4) == 4);
    program.yield();
    CHECK(program.told == std::to_string(-EFAULT));
  }
}

TEST_CASE("a call with two files keeps both while it waits for one") {
  Program program;
  CHECK(program.call(SYS_pipe2, program.at(0), 0) == 0);
  CHECK(program.call(SYS_pipe2, program.at(2), 0) == 0);
  const std::uint32_t source = program.word(0);
  const std::uint32_t source_writer = program.word(1);
  const std::uint32_t target_reader = program.word(2);
  const std::uint32_t target = program.word(3);
  program.begin([&] {
    const long moved = program.call(SYS_splice, source, 0, target, 0, 100, 0);
    program.told = std::to_string(moved);
  });
  program.yield();
  CHECK(program.call(SYS_close, target) == 0); // the last descriptor of it
  program.word(32) = 7;
  CHECK(program.call(SYS_write, source_writer, program.at(32), 4) == 4);
  program.yield();
  CHECK(program.told == "4");
  CHECK(program.call(SYS_read, target_reader, program.at(64), 16) == 4);
  CHECK(program.word(64) == 7);
}

TEST_CASE("what is sent is looked for again when another thread has unmapped it meanwhile") {
  Program program;
  const auto source = static_cast<std::uint64_t>(program.call(
      SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::memset(reinterpret_cast<void*>(source), 1, 1 << 20); // NOLINT
  int call = 0;
  SUBCASE("write to a pipe") {
    CHECK(program.call(SYS_pipe2, program.at(0), 0) == 0);
    call = SYS_write;
  }
  SUBCASE("send to a socket") {
    CHECK(program.call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, program.at(0)) == 0);
    call = SYS_sendto;
  }
  const std::uint32_t reader = program.word(0);
  const std::uint32_t writer = program.word(1);
  program.begin([&] {
    const long put = program.call(call, writer, source, 1 << 20, 0, 0, 0);
    program.told = put > 0 && put < (1 << 20) ? "part" : std::to_string(put);
  });
  program.yield();
  CHECK(program.told.empty());
  CHECK(program.call(SYS_munmap, source, 1 << 20) == 0);
  for (int reads = 0; program.told.empty() && reads < 20; ++reads) { // until there is room
    CHECK(program.call(SYS_read, reader, program.at(64), 32768) > 0);
    program.yield();
  }
  CHECK(program.told == "part");
}

TEST_CASE("sendfile to a full pipe goes on when another thread reads") {
  Program program;
  program.files.content["/data"] = std::string(200'000, 'd');
  std::memcpy(&program.word(100), "/data", 6);
  const long file = program.call(SYS_open, program.at(100), O_RDONLY, 0);
  REQUIRE(file >= 0);
  CHECK(program.call(SYS_pipe2, program.at(0), 0) == 0);
  const std::uint32_t reader = program.word(0);
  const std::uint32_t writer = program.word(1);
  program.begin([&] {
    long sent = 0;
    while (sent < 200'000) {
      const long part = program.call(SYS_sendfile, writer, file, 0, 200'000 - sent);
      REQUIRE(part > 0);
      sent += part;
    }
    program.told = std::to_string(sent);
  });
  program.yield();
  const auto to = static_cast<std::uint64_t>(program.call(
      SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  long got = 0;
  while (got < 200'000) {
    const long part = program.call(SYS_read, reader, to, 8192);
    REQUIRE(part > 0);
    got += part;
  }
  program.yield();
  CHECK(program.told == "200000");
}

TEST_CASE("a full pipe lets its writer go on when another thread reads") {
  Program program;
  CHECK(program.call(SYS_pipe2, program.at(0), 0) == 0);
  const std::uint32_t reader = program.word(0);
  const std::uint32_t writer = program.word(1);
  constexpr long more_than_fits = 65536 + 4096;
  const auto big = static_cast<std::uint64_t>(program.call(
      SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  program.begin([&] {
    CHECK(program.call(SYS_write, writer, big, more_than_fits) == more_than_fits);
    program.told += 'w';
  });
  program.yield();
  CHECK(program.told.empty());
  long got = 0;
  while (got < more_than_fits) {
    const long part = program.call(SYS_read, reader, big + (1 << 19), 8192);
    REQUIRE(part > 0);
    got += part;
  }
  program.yield();
  CHECK(program.told == "w");
}

} // namespace
