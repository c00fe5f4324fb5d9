// SPDX-License-Identifier: MIT
// What a program may do with memory.
#pragma once

#include <sys/mman.h>

#include <cstdint>

namespace guest::linux {

// PROT_ bits of Linux.
using Protection = std::uint32_t;

inline constexpr Protection protection_none = PROT_NONE;
inline constexpr Protection read_write = PROT_READ | PROT_WRITE;

} // namespace guest::linux
