// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace vmm {

// CPU time that 1 MiB of memory for 1 s is worth unless the user says otherwise: a GiB is worth as
// much as a CPU.
inline constexpr std::uint64_t default_memory_price_ns = 1'000'000;

} // namespace vmm
