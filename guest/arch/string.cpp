// SPDX-License-Identifier: MIT
// The memory functions that the compiler calls on its own. String instructions run natively at
// CPL3 and are fast from some hundred bytes on; below that a plain loop wins.
#include <cstddef>
#include <cstdint>

// The loops below must not be turned into calls of the functions they implement.
#define EBB_PLAIN_LOOPS [[gnu::optimize("no-tree-loop-distribute-patterns")]]

namespace {
constexpr std::size_t string_instruction_from = 128;
}

extern "C" {

EBB_PLAIN_LOOPS void* memcpy(void* to, const void* from, std::size_t bytes) {
  auto* target = static_cast<unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  if (bytes >= string_instruction_from) {
    asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(bytes) : : "memory");
    return to;
  }
  for (; bytes >= sizeof(std::uint64_t); bytes -= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, source, sizeof word);
    __builtin_memcpy(target, &word, sizeof word);
    target += sizeof word;
    source += sizeof word;
  }
  for (; bytes != 0; --bytes) {
    *target++ = *source++;
  }
  return to;
}

EBB_PLAIN_LOOPS void* memmove(void* to, const void* from, std::size_t bytes) {
  auto* target = static_cast<unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  if (target <= source || target >= source + bytes) {
    return memcpy(to, from, bytes);
  }
  while (bytes != 0) {
    --bytes;
    target[bytes] = source[bytes];
  }
  return to;
}

EBB_PLAIN_LOOPS void* memset(void* to, int value, std::size_t bytes) {
  auto* target = static_cast<unsigned char*>(to);
  const auto byte = static_cast<unsigned char>(value);
  if (bytes >= string_instruction_from) {
    asm volatile("rep stosb" : "+D"(target), "+c"(bytes) : "a"(byte) : "memory");
    return to;
  }
  for (; bytes != 0; --bytes) {
    *target++ = byte;
  }
  return to;
}

EBB_PLAIN_LOOPS int memcmp(const void* left, const void* right, std::size_t bytes) {
  const auto* a = static_cast<const unsigned char*>(left);
  const auto* b = static_cast<const unsigned char*>(right);
  for (; bytes != 0; --bytes, ++a, ++b) {
    if (*a != *b) {
      return *a < *b ? -1 : 1;
    }
  }
  return 0;
}

EBB_PLAIN_LOOPS void* memchr(const void* where, int value, std::size_t bytes) {
  const auto* byte = static_cast<const unsigned char*>(where);
  for (; bytes != 0; --bytes, ++byte) {
    if (*byte == static_cast<unsigned char>(value)) {
      return const_cast<unsigned char*>(byte); // NOLINT(cppcoreguidelines-pro-type-const-cast)
    }
  }
  return nullptr;
}

EBB_PLAIN_LOOPS std::size_t strlen(const char* text) {
  std::size_t length = 0;
  while (text[length] != '\0') {
    ++length;
  }
  return length;
}

} // extern "C"
