// SPDX-License-Identifier: MIT
// What may be a range of a program's addresses at all.
#pragma once

#include <cstdint>

#include "guest/linux/memory/address_zones.hpp"
#include "shared/address.hpp"

namespace guest::linux {

// Whole pages that hold so many bytes; 0 when there cannot be as many.
[[nodiscard]] constexpr std::uint64_t in_pages(std::uint64_t bytes) {
  return bytes > highest_address ? 0 : abi::align_up(bytes, abi::page_bytes);
}

// Page aligned, not empty, below the end of addresses.
[[nodiscard]] constexpr bool is_range(std::uint64_t address, std::uint64_t bytes) {
  return address % abi::page_bytes == 0 && bytes != 0 && address < highest_address &&
         bytes <= highest_address - address;
}

} // namespace guest::linux
