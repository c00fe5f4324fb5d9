// SPDX-License-Identifier: MIT
// Entries of the guest's page tables (SDM vol. 3, 4.5): the host makes the tables, and since 1.2 a
// guest that runs a Linux program changes them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace abi::page_entry {

// Accessed and dirty are preset: nothing reads them, and a processor that need not set them does
// not write to tables.
inline constexpr std::uint64_t present = 1U << 0;
inline constexpr std::uint64_t writable = 1U << 1;
inline constexpr std::uint64_t user = 1U << 2;
inline constexpr std::uint64_t accessed = 1U << 5;
inline constexpr std::uint64_t dirty = 1U << 6;
inline constexpr std::uint64_t large = 1U << 7; // a leaf above the last level
inline constexpr std::uint64_t no_execute = std::uint64_t{1} << 63;
inline constexpr std::uint64_t address_mask = 0x000ffffffffff000;

inline constexpr std::size_t per_table = 512;

} // namespace abi::page_entry
