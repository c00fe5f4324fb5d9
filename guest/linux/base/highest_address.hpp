// SPDX-License-Identifier: MIT
// One above the last address that a program can have, as in Linux with four levels of page tables.
#pragma once

#include <cstdint>

namespace guest::linux {

inline constexpr std::uint64_t highest_address = std::uint64_t{1} << 47;

} // namespace guest::linux
