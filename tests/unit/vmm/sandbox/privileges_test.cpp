// SPDX-License-Identifier: MIT
// What a process gives up, by children of this one.
#include "vmm/sandbox/privileges.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/child.hpp"

using namespace vmm;

namespace {

using test_support::child;

std::string status_line(const char* key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) {
      return line;
    }
  }
  return {};
}

} // namespace

TEST_CASE("capabilities are gone and do not come back") {
  CHECK(child([] {
          if (!forbid_new_privileges() || !drop_capabilities()) {
            return 1;
          }
          for (const char* const set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
            if (!status_line(set).ends_with("0000000000000000")) {
              return 2;
            }
          }
          // An ordinary user's bounding set stays, and no_new_privs makes it worthless.
          if (::geteuid() == 0 && !status_line("CapBnd").ends_with("0000000000000000")) {
            return 3;
          }
          if (!status_line("NoNewPrivs").ends_with("1")) {
            return 4;
          }
          // Root's own root: needs a capability.
          return ::chroot("/") != 0 && errno == EPERM ? 0 : 5;
        }) == 0);
}

TEST_CASE("inherited descriptors are closed, own ones and standard ones are not") {
  CHECK(child([] {
          const int own = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
          const int inherited = ::open("/dev/null", O_RDONLY); // NOLINT(*-cloexec*)
          if (!close_inherited_descriptors()) {
            return 1;
          }
          if (::fcntl(inherited, F_GETFD) >= 0 || ::fcntl(own, F_GETFD) < 0) {
            return 2;
          }
          for (int standard = 0; standard <= 2; ++standard) {
            if (::fcntl(standard, F_GETFD) < 0) {
              return 3;
            }
          }
          return 0;
        }) == 0);
}

TEST_CASE("standard input reads as empty once detached") {
  CHECK(child([] {
          char byte = 0;
          return detach_standard_input() && ::read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
        }) == 0);
}

TEST_CASE("a limit below what is needed is told") {
  CHECK(child([] {
          const auto next = static_cast<unsigned>(highest_descriptor()) + 1;
          const rlimit open{next + 3, next + 3};
          if (::setrlimit(RLIMIT_NOFILE, &open) != 0) {
            return 1;
          }
          const auto limited = limit_resources(1U << 20, {.least = next + 4, .most = next + 9});
          if (limited || limited.error().message.find("ulimit -n") == std::string::npos) {
            return 2;
          }
          return limit_resources(1U << 20, {.least = next + 3, .most = next + 9}) ? 0 : 3;
        }) == 0);
}

TEST_CASE("limits hold: no core, no long file, no further descriptor") {
  CHECK(child([] {
          const auto next = static_cast<unsigned>(highest_descriptor()) + 1;
          if (!limit_resources(1U << 20, {.least = next, .most = next + 1})) {
            return 1;
          }
          // A hole below may be filled: what counts is that nothing above is.
          for (int opened = 0; opened >= 0; opened = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) {
            if (opened > static_cast<int>(next)) {
              return 2;
            }
          }
          if (errno != EMFILE) {
            return 3;
          }
          rlimit core{};
          ::getrlimit(RLIMIT_CORE, &core);
          rlimit file{};
          ::getrlimit(RLIMIT_FSIZE, &file);
          return core.rlim_max == 0 && file.rlim_max == 1U << 20 ? 0 : 4;
        }) == 0);
}
