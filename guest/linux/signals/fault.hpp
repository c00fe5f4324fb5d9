// SPDX-License-Identifier: MIT
// The processor's exceptions as Linux tells a program of them (signal(7), sigaction(2)). Pure.
#pragma once

#include <cstdint>

#include "guest/linux/signals/registers.hpp"
#include "guest/linux/signals/signals.hpp"

namespace guest::linux {

// Vectors that are looked at by themselves (SDM vol. 3, 6.15).
inline constexpr std::uint64_t invalid_opcode_vector = 6;
inline constexpr std::uint64_t page_fault_vector = 14;

// Whether the program has anything at the address of a page fault.
enum class Faulted : std::uint8_t { on_nothing, on_its_own };

// Why the instruction that `registers` stand at could not go on. `faulted` matters for page faults.
[[nodiscard]] SignalCause fault_cause(const Registers& registers, Faulted faulted);

} // namespace guest::linux
