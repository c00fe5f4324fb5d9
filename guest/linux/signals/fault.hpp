// SPDX-License-Identifier: MIT
// The processor's exceptions as Linux tells a program of them (signal(7), sigaction(2)). Pure.
#pragma once

#include <cstdint>

#include "guest/linux/base/resolution.hpp"
#include "guest/linux/signals/registers.hpp"
#include "guest/linux/signals/signals.hpp"

namespace guest::linux {

// Vectors that are looked at by themselves (SDM vol. 3, 6.15).
inline constexpr std::uint64_t invalid_opcode_vector = 6;
inline constexpr std::uint64_t page_fault_vector = 14;

// Why the instruction that `registers` stand at could not go on. `resolution` matters for page
// faults: what came of the attempt to resolve it.
[[nodiscard]] SignalCause fault_cause(const Registers& registers, Resolution resolution);

} // namespace guest::linux
