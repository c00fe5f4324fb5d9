// SPDX-License-Identifier: MIT
// The processor's exceptions as Linux tells a program of them (signal(7), sigaction(2)). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/linux/base/resolution.hpp"
#include "guest/linux/signals/registers.hpp"
#include "guest/linux/signals/signals.hpp"

namespace guest::linux {

// Vectors that are looked at by themselves (SDM vol. 3, 6.15).
inline constexpr std::uint64_t invalid_opcode_vector = 6;
inline constexpr std::uint64_t page_fault_vector = 14;

// Control and status of the floating-point units (SDM vol. 1, 8.1 and 10.2.3).
struct FloatingPoint {
  std::uint16_t x87_control = 0;
  std::uint16_t x87_status = 0;
  std::uint32_t mxcsr = 0;

  // From the first 512 bytes of what XSAVE stores.
  [[nodiscard]] static FloatingPoint of(std::span<const std::byte> extended_state);
};

// Why the instruction that `registers` stand at could not go on. `resolution` matters for page
// faults: what came of the attempt to resolve it; `floating_point` for exceptions of calculations.
[[nodiscard]] SignalCause fault_cause(const Registers& registers, Resolution resolution,
                                      const FloatingPoint& floating_point);

// The error code as a program is told it: of page faults in the kernel's half of the addresses not
// whether something is there.
[[nodiscard]] std::uint64_t told_error_code(const Registers& registers);

} // namespace guest::linux
