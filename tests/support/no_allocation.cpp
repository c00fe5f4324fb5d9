// SPDX-License-Identifier: MIT
#include "tests/support/no_allocation.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

namespace {

thread_local unsigned forbidden = 0;

} // namespace

// Replace the global ones; all other forms end up here, but for over-aligned types. Sanitizers see
// malloc and free beneath; they bring a form of their own that does not throw, so that is replaced,
// too.
void* operator new(std::size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  if (forbidden != 0) {
    static_cast<void>(std::fputs("allocation where none is allowed\n", stderr));
    std::abort();
  }
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* operator new(std::size_t bytes) {
  if (void* memory = ::operator new(bytes, std::nothrow)) {
    return memory;
  }
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
  std::free(memory);
}

namespace test_support {

AllocationForbidden::AllocationForbidden() {
  ++forbidden;
}
AllocationForbidden::~AllocationForbidden() {
  --forbidden;
}
AllocationAllowed::AllocationAllowed() : suspended_(std::exchange(forbidden, 0)) {}
AllocationAllowed::~AllocationAllowed() {
  forbidden = suspended_;
}

} // namespace test_support
