// SPDX-License-Identifier: MIT
// A hosted program with threads: each is a body that runs when the program waits or yields, and
// exits behind it.
#pragma once

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/linux/hosted_process.hpp"

namespace test_support {

// Of clone(2), as threads are made.
inline constexpr std::uint64_t thread_flags =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
inline constexpr std::uint64_t first_thread = 2; // its number

struct ThreadedProgram : HostedProcess {
  ThreadedProgram() {
    memory_at = static_cast<std::uint64_t>(
        call(SYS_mmap, 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  // Of 64 KiB that are the program's.
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
    return call(SYS_clone, thread_flags | more, 0x1000, parent_at, child_at, 0x2000);
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

} // namespace test_support
