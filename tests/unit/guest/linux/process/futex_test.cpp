// SPDX-License-Identifier: MIT
// Threads of a hosted program: how they wait for words, and for locks.
#include <linux/futex.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include <doctest/doctest.h>

#include "tests/support/linux/threaded_program.hpp"

namespace {

using test_support::first_thread;
using test_support::ThreadedProgram;

TEST_CASE(
    "futex wakes in order, as many as asked for, by their bits; a value that changed is told") {
  ThreadedProgram program;
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
  ThreadedProgram program;
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
  ThreadedProgram program;
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
  ThreadedProgram program;
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
  ThreadedProgram program;
  CHECK(program.futex(0, FUTEX_LOCK_PI, 0) == 0);
  CHECK(program.word(0) == first_thread);
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
  CHECK(program.word(0) == (first_thread | FUTEX_WAITERS));
  CHECK(program.futex(0, FUTEX_UNLOCK_PI, 0) == 0);
  CHECK(program.word(0) == (3 | FUTEX_WAITERS));
  CHECK(program.futex(0, FUTEX_UNLOCK_PI, 0) == -EPERM);
  program.yield();
  program.yield();
  CHECK(program.told == "ab");
  CHECK(program.word(0) == 0);
}

TEST_CASE("a thread that ends leaves its robust locks to others, and its list may be anything") {
  ThreadedProgram program;
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
  CHECK(program.call(SYS_tgkill, first_thread, 3, 0) == -ESRCH);
}

} // namespace
