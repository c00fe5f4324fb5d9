// SPDX-License-Identifier: MIT
#include "vmm/control/pressure_files.hpp"

#include <fcntl.h>
#include <poll.h>

#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"

using namespace vmm;
using News = PressureFile::News;

TEST_CASE("the number of times that memory.high was passed") {
  CHECK(high_events("low 0\nhigh 12\nmax 3\noom 0\n") == 12);
  CHECK(high_events("high 0") == 0);
  for (const char* const text : {"", "low 1\n", "high", "high \n", "high x\n", "xhigh 1\n",
                                 "high -1\n", "high 99999999999999999999999\n"}) {
    CAPTURE(text);
    CHECK_FALSE(high_events(text));
  }
}

TEST_CASE("the group that a process is in") {
  const char* const mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
                             "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
                             "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
  CHECK(own_cgroup("4:memory:/a\n0::/user.slice/b\n", mounts) ==
        "/sys/fs/cgroup/unified/user.slice/b");
  CHECK(own_cgroup("0::/\n", mounts).empty()); // the root's is the host's
  CHECK(own_cgroup("4:memory:/a\n", mounts).empty());
  CHECK(own_cgroup("0::/a\n", "proc /proc proc rw 0 0\n").empty());
  CHECK(own_cgroup("", "").empty());
}

TEST_CASE("events are pressure when they are of that kind, and files can go") {
  const test_support::TemporaryFolder dir;
  const auto write = [&dir](const char* text) { std::ofstream(dir / "events") << text; };
  write("high 5\n");
  PressureFile events{UniqueFd(::open((dir / "events").c_str(), O_RDONLY | O_CLOEXEC)),
                      PressureFile::Kind::events, POLLPRI};
  CHECK(events.take(POLLPRI | POLLERR) == News::pressure);
  CHECK(events.take(POLLPRI | POLLERR) == News::none);
  CHECK(events.take(0) == News::none);
  write("high 5\nmax 1\n");
  CHECK(events.take(POLLPRI | POLLERR) == News::none);
  write("high 6\n");
  CHECK(events.take(POLLPRI | POLLERR) == News::pressure);
  write("");
  CHECK(events.take(POLLPRI | POLLERR) == News::gone);
  PressureFile trigger{UniqueFd(), PressureFile::Kind::trigger, POLLPRI};
  CHECK(trigger.take(POLLPRI) == News::pressure);
  CHECK(trigger.take(0) == News::none);
  CHECK(trigger.take(POLLPRI | POLLERR) == News::gone);
  CHECK(trigger.take(POLLNVAL) == News::gone);
}

TEST_CASE("what this host tells is found, or why there is nothing") {
  const auto files = open_pressure_files();
  if (files) {
    CHECK_FALSE(files->empty());
  } else {
    CHECK(files.error().message.starts_with("this host tells nothing of memory pressure: "));
  }
}
