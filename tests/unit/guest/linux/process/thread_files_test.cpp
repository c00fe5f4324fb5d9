// SPDX-License-Identifier: MIT
// Threads of a hosted program: files and memory that a call waits for or with.
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/linux/threaded_program.hpp"

namespace {

using test_support::ThreadedProgram;

// A thread that waits until standard input, which is dry, is ready.
void begin_watcher(ThreadedProgram& program) {
  program.files.is_dry = true;
  program.begin([&program] {
    const pollfd wanted{.fd = 0, .events = POLLIN, .revents = 0};
    std::memcpy(&program.word(0), &wanted, sizeof wanted);
    CHECK(program.call(SYS_poll, program.at(0), 1, -1) == 1);
    program.told += "ready";
  });
}

TEST_CASE("a thread that makes no calls lets one run whose file of the host's has become ready") {
  ThreadedProgram program;
  begin_watcher(program);
  program.yield();
  program.files.is_dry = false;
  program.machine.now += 1'000'000'000;
  program.process->catch_up(); // interrupted for something else
  program.machine.now += 1'000'000'000;
  program.process->catch_up();
  CHECK(program.told.empty());
  program.machine.files_ready = true;
  program.process->catch_up(); // interrupted for that, and has run for long
  CHECK(program.told == "ready");
}

// The alarm takes the timer over that would have interrupted the program for it.
TEST_CASE("what comes while the alarm is set is looked for before the program goes on") {
  ThreadedProgram program;
  begin_watcher(program);
  program.begin([&] {
    program.yield(); // the first looks again, because there is a new thread, and waits
    CHECK(program.futex(8, FUTEX_WAIT, 0) == 0);
  });
  program.yield();
  program.yield();
  program.files.is_dry = false;
  program.machine.now += 1'000'000'000;
  SUBCASE("a file of the host's") {
    program.machine.files_ready_at_alarm = true;
  }
  SUBCASE("a signal") {
    program.machine.signals_at_alarm = guest::linux::set_of(SIGCHLD); // which is ignored
  }
  REQUIRE(program.machine.alarm != guest::linux::Machine::never); // while others were ready
  program.process->catch_up();
  REQUIRE(program.machine.alarm == guest::linux::Machine::never);
  CHECK_FALSE(program.machine.files_ready);
  CHECK(program.machine.signals == 0);
  CHECK(program.futex(8, FUTEX_WAKE, 1) == 1);
  program.machine.files_ready = true;
  program.process->catch_up();
  program.yield();
  CHECK(program.told == "ready");
}

// A thread that begins to wait looks a second time, and nobody is interrupted for what it finds.
TEST_CASE("what another thread has found meanwhile is looked for before the program goes on") {
  ThreadedProgram program;
  begin_watcher(program);
  program.begin([&] {
    program.yield(); // the first looks again, because there is a new thread, and waits
    program.files.is_dry = false;
    program.machine.files_ready = true;
    program.yield(); // its end would have all look again
  });
  program.yield();
  program.machine.now += 1'000'000'000;
  program.process->catch_up(); // the other has run within
  CHECK_FALSE(program.machine.files_ready);
  program.yield();
  CHECK(program.told == "ready");
}

// The guest sleeps a while, lets go of what it has of the file, and would sleep on.
TEST_CASE("what becomes ready as the guest has slept a while is not slept through") {
  ThreadedProgram program;
  program.files.content["/data"] = "data";
  program.files.is_writable = true;
  std::memcpy(&program.word(100), "/data", 6);
  REQUIRE(program.call(SYS_open, program.at(100), O_RDWR, 0) >= 0);
  program.files.is_dry = true;
  program.machine.files_ready_behind_sleep = [&] { program.files.is_dry = false; };
  const pollfd wanted{.fd = 0, .events = POLLIN, .revents = 0};
  std::memcpy(&program.word(0), &wanted, sizeof wanted);
  CHECK(program.call(SYS_poll, program.at(0), 1, -1) == 1);
}

TEST_CASE("a pipe wakes who waits for it, also when its descriptor is closed meanwhile") {
  ThreadedProgram program;
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

TEST_CASE("who opens a pipe by its name waits for the other end") {
  ThreadedProgram program;
  std::memcpy(&program.word(100), "/tmp/pipe", 10);
  CHECK(program.call(SYS_mknod, program.at(100), S_IFIFO | 0600, 0) == 0);
  CHECK(program.call(SYS_mknod, program.at(100), S_IFIFO | 0600, 0) == -EEXIST);
  CHECK(program.call(SYS_open, program.at(100), O_RDONLY) == -EDEADLK); // for ever
  int access = O_RDONLY;
  SUBCASE("to read") {}
  SUBCASE("to write") {
    access = O_WRONLY;
  }
  program.begin([&] {
    const long got = program.call(SYS_open, program.at(100), access);
    CHECK(got >= 0);
    program.told += "open";
    CHECK(program.call(SYS_close, got) == 0);
  });
  program.yield();
  CHECK(program.told.empty());
  const long other =
      program.call(SYS_open, program.at(100), access == O_RDONLY ? O_WRONLY : O_RDONLY);
  CHECK(other >= 0);
  SUBCASE("which is still there") {}
  SUBCASE("which is gone again") {
    CHECK(program.call(SYS_close, other) == 0);
  }
  program.yield();
  CHECK(program.told == "open");
}

TEST_CASE("a pipe with a name that is not waited for") {
  ThreadedProgram program;
  std::memcpy(&program.word(100), "/tmp/pipe", 10);
  const auto open = [&](std::uint64_t flags) {
    return program.call(SYS_open, program.at(100), flags);
  };
  CHECK(program.call(SYS_mknod, program.at(100), S_IFIFO | 0666, 0) == 0);
  CHECK(open(O_WRONLY | O_NONBLOCK) == -ENXIO);
  CHECK(program.call(SYS_truncate, program.at(100), 0) == -EINVAL);
  const long place = open(O_PATH);
  CHECK(place >= 0);
  const long reader = open(O_RDONLY | O_NONBLOCK | O_TRUNC | O_CREAT);
  CHECK(reader >= 0);
  struct stat is {};
  CHECK(program.call(SYS_fstat, reader, program.at(0)) == 0);
  std::memcpy(&is, &program.word(0), sizeof is);
  CHECK(is.st_mode == (S_IFIFO | 0644)); // by the umask
  CHECK(program.call(SYS_read, reader, program.at(0), 16) == 0);
  CHECK(program.call(SYS_lseek, reader, 0, SEEK_CUR) == -ESPIPE);
  const long writer = open(O_WRONLY | O_NONBLOCK);
  CHECK(writer >= 0);
  CHECK(program.call(SYS_read, reader, program.at(0), 16) == -EAGAIN);
  CHECK(program.call(SYS_unlink, program.at(100)) == 0);
  CHECK(program.call(SYS_write, writer, program.at(0), 7) == 7); // all the same
  CHECK(program.call(SYS_read, reader, program.at(0), 16) == 7);
  CHECK(program.call(SYS_mknod, program.at(100), S_IFCHR | 0666, 0x103) == -EPERM);
  std::memcpy(&program.word(100), "/proc/a", 8);
  CHECK(program.call(SYS_mknod, program.at(100), S_IFIFO | 0666, 0) == -EROFS);
}

TEST_CASE("a call with two files keeps both while it waits for one") {
  ThreadedProgram program;
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
  ThreadedProgram program;
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
  ThreadedProgram program;
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
  ThreadedProgram program;
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
