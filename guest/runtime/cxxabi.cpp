// SPDX-License-Identifier: MIT
// What compiled C++ and the library headers it uses expect to be linked with: operator new and
// delete over the kernel's heap, and the exits of code that would throw.
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <new>

#include "guest/kernel.hpp"
#include "guest/runtime/panic.hpp"

namespace {

void* allocate(std::size_t bytes, std::size_t alignment) {
  guest::Kernel* const kernel = guest::Kernel::current();
  void* const object = kernel == nullptr ? nullptr : kernel->heap().allocate(bytes, alignment);
  if (object == nullptr) {
    guest::panic("out of memory: operator new of {} bytes", bytes);
  }
  return object;
}

void release(void* object) {
  if (object != nullptr &&
      guest::Kernel::current()->heap().release(object) != guest::mm::ReleaseResult::ok) {
    guest::panic("delete of {}, which new did not return or delete has seen", object);
  }
}

} // namespace

void* operator new(std::size_t bytes) {
  return allocate(bytes, guest::mm::SmallHeap::min_alignment);
}
void* operator new[](std::size_t bytes) {
  return allocate(bytes, guest::mm::SmallHeap::min_alignment);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* object) noexcept {
  release(object);
}
void operator delete[](void* object) noexcept {
  release(object);
}
void operator delete(void* object, std::size_t /*bytes*/) noexcept {
  release(object);
}
void operator delete[](void* object, std::size_t /*bytes*/) noexcept {
  release(object);
}
void operator delete(void* object, std::align_val_t /*alignment*/) noexcept {
  release(object);
}
void operator delete[](void* object, std::align_val_t /*alignment*/) noexcept {
  release(object);
}
void operator delete(void* object, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  release(object);
}
void operator delete[](void* object, std::size_t /*bytes*/,
                       std::align_val_t /*alignment*/) noexcept {
  release(object);
}

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
