// SPDX-License-Identifier: MIT
// What a test does to a whole process, in one of its own.
#pragma once

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include <doctest/doctest.h>

namespace test_support {

// Exit status of a child that does this; the negated signal that ended it.
inline int child(const std::function<int()>& what) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::syscall(SYS_exit_group, what());
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

} // namespace test_support
