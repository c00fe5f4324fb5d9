// SPDX-License-Identifier: MIT
// What compiled C++ and the library headers it uses expect to be linked with: the exits of code
// that would throw. (operator new and delete are in guest/kernel/heap_operators.cpp.)
#include <cstdarg>
#include <cstddef>
#include <cstdio>

#include "guest/runtime/panic.hpp"

// Called by library headers where a hosted program would throw.
namespace std {
void __throw_bad_alloc() {
  guest::panic_text("std::bad_alloc");
}
void __throw_bad_array_new_length() {
  guest::panic_text("std::bad_array_new_length");
}
void __throw_length_error(const char* what) {
  guest::panic_text(what);
}
void __throw_logic_error(const char* what) {
  guest::panic_text(what);
}
void __throw_out_of_range_fmt(const char* what, ...) {
  guest::panic_text(what);
}
} // namespace std

extern "C" {

// What std::shared_ptr asks of glibc to count without atomics: vCPUs are like threads.
char __libc_single_threaded = 0; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void __cxa_pure_virtual() {
  guest::panic_text("pure virtual function called");
}
void abort() noexcept {
  guest::panic_text("abort");
}

// assert() of the C library's header.
void __assert_fail(const char* condition, const char* file, unsigned line,
                   const char* /*function*/) noexcept {
  guest::panic("assertion failed: {} at {}:{}", condition, file, line);
}

// fmt falls back to it for long double and hexadecimal floating point only, which the guest does
// not print.
int snprintf(char* /*to*/, std::size_t /*bytes*/, const char* /*format*/, ...) noexcept {
  guest::panic_text("printing of long double is not supported");
}

} // extern "C"
