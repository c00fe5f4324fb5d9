// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include <doctest/doctest.h>

#include "tests/support/linux/two_kernels.hpp"

namespace {

using namespace test_support; // NOLINT(google-build-using-namespace)

TEST_CASE("calls: there are as many descriptors as the limit says") {
  Guest guest;
  guest.prepare();
  REQUIRE(guest.ask(SYS_getrlimit, RLIMIT_NOFILE, guest.memory) == 0);
  rlimit limit{};
  std::memcpy(&limit, World::pointer(guest.memory), sizeof limit);
  long last = 0;
  while (const long next = guest.ask(SYS_dup, guest.file)) {
    if (next < 0) {
      CHECK(next == -EMFILE);
      break;
    }
    last = next;
  }
  CHECK(static_cast<rlim_t>(last) == limit.rlim_cur - 1);
  CHECK(guest.ask(SYS_open, guest.put_text(guest.memory, "/tmp/at/file"), O_RDONLY) == -EMFILE);
  CHECK(guest.ask(SYS_open, guest.put_text(guest.memory, "/tmp/at/new"), O_CREAT | O_RDWR, 0600) ==
        -EMFILE);
  CHECK(guest.ask(SYS_pipe, guest.memory) == -EMFILE);
  CHECK(guest.ask(SYS_fcntl, guest.file, F_DUPFD, 0) == -EMFILE);
  CHECK(guest.ask(SYS_fcntl, guest.file, F_DUPFD, limit.rlim_cur) == -EINVAL);
  CHECK(guest.ask(SYS_dup2, guest.file, limit.rlim_cur) == -EBADF);
  CHECK(guest.ask(SYS_close, 500) == 0);
  CHECK(guest.ask(SYS_pipe, guest.memory) == -EMFILE); // for one end alone there is room
  CHECK(guest.ask(SYS_dup, guest.file) == 500);
}

} // namespace
