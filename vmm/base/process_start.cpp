// SPDX-License-Identifier: MIT
#include "vmm/base/process_start.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace vmm {
namespace {

// Much more than any thread of ours uses, and little to reserve.
constexpr std::size_t thread_stack_bytes = std::size_t{1} << 20;

constexpr int environment_status = 4;

void say(std::string_view text) {
  // There is nobody left to tell when that fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

[[noreturn]] void end_by_exception() {
  const std::exception_ptr current = std::current_exception();
  if (current == nullptr) {
    std::abort(); // a fault of ours
  }
  try {
    std::rethrow_exception(current);
  } catch (const std::exception& error) {
    // In pieces, because one text would need memory.
    say(program_invocation_short_name);
    say(": ");
    say(explain(error));
    say("\n");
  } catch (...) {
    std::abort();
  }
  ::_exit(environment_status);
}

} // namespace

Inheritance Inheritance::of_process() {
  Inheritance inheritance;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    struct sigaction action {};
    // Of the few that the C library keeps for itself nothing is said.
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
      inheritance.ignored_signals |= std::uint64_t{1} << (signal - 1);
    }
  }
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    if (::fcntl(number, F_GETFD) < 0 && errno == EBADF) {
      inheritance.closed_streams |= std::uint64_t{1} << number;
    }
  }
  return inheritance;
}

void occupy_standard_descriptors() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    if (::fcntl(number, F_GETFD) >= 0 || errno != EBADF) {
      continue;
    }
    // The lowest free number is this one: those below it are taken. A mere reference to a place
    // (O_PATH) is there even where /dev is not.
    static_cast<void>(::open("/", O_PATH)); // NOLINT(*-cloexec): as a standard descriptor is
  }
}

void survive_file_limit() {
  static_cast<void>(std::signal(SIGXFSZ, SIG_IGN)); // cannot fail
}

void survive_lost_reader() {
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN)); // cannot fail
}

void set_thread_stacks() {
  pthread_attr_t attributes{};
  if (::pthread_attr_init(&attributes) != 0) {
    return; // of no memory; then starting threads will tell
  }
  ::pthread_attr_setstacksize(&attributes, thread_stack_bytes);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

void use_one_arena() {
  ::mallopt(M_ARENA_MAX, 1);
}

void explain_uncaught_exceptions() {
  std::set_terminate(end_by_exception);
}

std::string_view explain(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr
             ? "the host has no more memory for this process; raise its limits (ulimit -d, -v)"
             : error.what();
}

} // namespace vmm
