// SPDX-License-Identifier: MIT
// What a program of ours takes for granted of its process, made so at the very start of main:
// before anything opens a descriptor, allocates from a second thread or writes.
#pragma once

#include <cstdint>
#include <exception>
#include <string_view>

namespace vmm {

// What whoever started the process has left to it, as bits: signals that are ignored, n - 1 for
// signal n, and standard descriptors that are closed, n for n. To be asked before all of what
// follows here.
struct Inheritance {
  std::uint64_t ignored_signals = 0;
  std::uint64_t closed_streams = 0;

  [[nodiscard]] static Inheritance of_process();
};

// Takes the numbers 0, 1 and 2 where the caller has closed them, so that no file or event of ours
// becomes standard input, output or error. What takes them can neither be read nor written: every
// use fails with EBADF, as it would have without.
void occupy_standard_descriptors();

// A write that goes beyond a limit on files (RLIMIT_FSIZE) fails with EFBIG instead of ending the
// process.
void survive_file_limit();

// A write whose reader has left fails with EPIPE instead of ending the process: for a program that
// has more to do than to be read.
void survive_lost_reader();

// Gives threads that are started from now on stacks of a size of ours, whatever the limit on the
// first thread's (RLIMIT_STACK) is.
void set_thread_stacks();

// Keeps the C library's allocator to one arena. Further ones, which it makes as threads contend,
// make it open files under /sys when there are more than eight and under /proc when one shrinks; a
// vmm that has given up opening files would be ended by that.
void use_one_arena();

// An exception that nobody catches, on whatever thread, is told in a line that begins with the
// program's name, and ends the process with status 4: it is the host's memory that ran out.
void explain_uncaught_exceptions();

// What an exception of the C++ library means to a user; valid as long as `error` is.
[[nodiscard]] std::string_view explain(const std::exception& error);

} // namespace vmm
