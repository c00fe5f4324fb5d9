// SPDX-License-Identifier: MIT
// What an instruction faulted by, where the host says less. Pure.
//
// kvm_pvm has KVM's emulator try what raises a general protection fault, and where that does not
// know the instruction, the guest hears of an invalid opcode: of software interrupts, and of vector
// instructions and others at addresses that they may not have. Elsewhere nothing is hidden.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "guest/linux/signals/registers.hpp"

namespace guest::linux {

inline constexpr std::uint64_t stack_fault_vector = 12;
inline constexpr std::uint64_t protection_fault_vector = 13;
inline constexpr std::size_t longest_instruction = 15; // bytes (SDM vol. 2, 2.3.11)

struct HiddenFault {
  std::uint64_t vector = protection_fault_vector;
  std::uint64_t error_code = 0;
};

// Of an invalid opcode at `registers`, where `code` lies (its first longest_instruction bytes, or
// fewer): the fault that it stands for. Empty: it is one. Takes it for granted that the processor
// knows SSE and AVX. Addresses by FS, GS or a vector of indices are not looked at.
[[nodiscard]] std::optional<HiddenFault> hidden_fault(const Registers& registers,
                                                      std::span<const std::uint8_t> code);

} // namespace guest::linux
