// SPDX-License-Identifier: MIT
// Reads a struct that the other side wrote, perhaps in another minor version: structs only grow at
// their end, and say how many bytes of them their writer knows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace abi {

// The first `known_bytes` of `bytes` as a T. What an older writer did not know of has its default
// value; what a newer one added is left out.
template <typename T> T known_part(std::span<const std::byte> bytes, std::size_t known_bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T known{};
  std::memcpy(&known, bytes.data(), std::min({sizeof(T), bytes.size(), known_bytes}));
  return known;
}

} // namespace abi
