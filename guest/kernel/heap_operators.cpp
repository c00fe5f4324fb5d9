// SPDX-License-Identifier: MIT
// operator new and delete over the kernel's heap. A guest that is out of memory there panics.
#include <cstddef>
#include <new>

#include "guest/kernel/kernel.hpp"
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
