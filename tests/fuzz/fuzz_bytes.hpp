// SPDX-License-Identifier: MIT
// The fuzzer's bytes, taken from the front; zeroes once they are used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <source_location>
#include <span>
#include <type_traits>

namespace fuzz {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  [[nodiscard]] bool empty() const { return left_.empty(); }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return left_; }

  template <typename T>
  requires std::is_trivially_copyable_v<T> T take() {
    T value{};
    const std::size_t length = std::min(sizeof(T), left_.size());
    std::memcpy(&value, left_.data(), length);
    left_ = left_.subspan(length);
    return value;
  }
  // In [0, limit).
  std::uint32_t below(std::uint32_t limit) { return take<std::uint16_t>() % limit; }

 private:
  std::span<const std::uint8_t> left_;
};

// Ends the process with the place and a stack, as a sanitizer does.
inline void require(bool holds,
                    const std::source_location& where = std::source_location::current()) {
  if (!holds) {
    std::fprintf(stderr, "%s:%u does not hold\n", where.file_name(), where.line());
    __builtin_trap();
  }
}

} // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
