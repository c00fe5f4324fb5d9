// SPDX-License-Identifier: MIT
// The functions that a compiler calls with -fsanitize=thread (LLVM's compiler-rt, tsan_interface.h
// and tsan_interface_atomic.h; GCC's gcc/sanitizer.def), for one thread. Not instrumented itself.
#include "tools/lab/sim/access_hooks.hpp"

#include <cstdint>
#include <utility>

namespace sharing {
namespace {

// The compiler's calls bring nothing along by which they could find it.
AccessListener* listening = nullptr; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void read(const volatile void* at, std::uint64_t bytes) {
  if (listening != nullptr) {
    listening->read(reinterpret_cast<std::uint64_t>(at), bytes);
  }
}

void written(const volatile void* at, std::uint64_t bytes) {
  if (listening != nullptr) {
    listening->written(reinterpret_cast<std::uint64_t>(at), bytes);
  }
}

template <typename Value> Value exchange(volatile Value* at, Value value) {
  written(at, sizeof(Value));
  if (sizeof(Value) == 1 && listening != nullptr) {
    listening->lock_taken();
  }
  return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
}

} // namespace

AccessListener* listen(AccessListener* listener) {
  return std::exchange(listening, listener);
}

} // namespace sharing

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void** at) {
  sharing::read(at, sizeof *at);
}
void __tsan_vptr_update(void** at, void*) {
  sharing::written(at, sizeof *at);
}
void __tsan_read_range(void* at, std::uint64_t bytes) {
  sharing::read(at, bytes);
}
void __tsan_write_range(void* at, std::uint64_t bytes) {
  sharing::written(at, bytes);
}
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

// NOLINTBEGIN(cppcoreguidelines-macro-usage)
#define EBB_PLAIN(BYTES)                                                                           \
  void __tsan_read##BYTES(void* at) {                                                              \
    sharing::read(at, BYTES);                                                                      \
  }                                                                                                \
  void __tsan_write##BYTES(void* at) {                                                             \
    sharing::written(at, BYTES);                                                                   \
  }                                                                                                \
  void __tsan_unaligned_read##BYTES(void* at) {                                                    \
    sharing::read(at, BYTES);                                                                      \
  }                                                                                                \
  void __tsan_unaligned_write##BYTES(void* at) {                                                   \
    sharing::written(at, BYTES);                                                                   \
  }
EBB_PLAIN(1)
EBB_PLAIN(2)
EBB_PLAIN(4)
EBB_PLAIN(8)
EBB_PLAIN(16)

#define EBB_FETCH(BITS, NAME)                                                                      \
  std::uint##BITS##_t __tsan_atomic##BITS##_fetch_##NAME(volatile std::uint##BITS##_t* at,         \
                                                         std::uint##BITS##_t value, int) {         \
    sharing::written(at, sizeof *at);                                                              \
    return __atomic_fetch_##NAME(at, value, __ATOMIC_SEQ_CST);                                     \
  }
#define EBB_COMPARE(BITS, NAME)                                                                    \
  int __tsan_atomic##BITS##_compare_exchange_##NAME(volatile std::uint##BITS##_t* at,              \
                                                    std::uint##BITS##_t* expected,                 \
                                                    std::uint##BITS##_t value, int, int) {         \
    sharing::written(at, sizeof *at);                                                              \
    return __atomic_compare_exchange_n(at, expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) \
               ? 1                                                                                 \
               : 0;                                                                                \
  }
#define EBB_ATOMIC(BITS)                                                                           \
  std::uint##BITS##_t __tsan_atomic##BITS##_load(const volatile std::uint##BITS##_t* at, int) {    \
    sharing::read(at, sizeof *at);                                                                 \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                \
  void __tsan_atomic##BITS##_store(volatile std::uint##BITS##_t* at, std::uint##BITS##_t value,    \
                                   int) {                                                          \
    sharing::written(at, sizeof *at);                                                              \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                \
  std::uint##BITS##_t __tsan_atomic##BITS##_exchange(volatile std::uint##BITS##_t* at,             \
                                                     std::uint##BITS##_t value, int) {             \
    return sharing::exchange(at, value);                                                           \
  }                                                                                                \
  EBB_FETCH(BITS, add)                                                                             \
  EBB_FETCH(BITS, sub)                                                                             \
  EBB_FETCH(BITS, and)                                                                             \
  EBB_FETCH(BITS, or)                                                                              \
  EBB_FETCH(BITS, xor)                                                                             \
  EBB_COMPARE(BITS, strong)                                                                        \
  EBB_COMPARE(BITS, weak)
EBB_ATOMIC(8)
EBB_ATOMIC(16)
EBB_ATOMIC(32)
EBB_ATOMIC(64)
// NOLINTEND(cppcoreguidelines-macro-usage)
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
