// SPDX-License-Identifier: MIT
// Going from one thread of the program to another, each with a stack in the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/arch/cpu.hpp"
#include "guest/arch/program.h"
#include "guest/arch/program.hpp"

namespace guest::arch {

// guest/arch/thread_switch.S.
extern "C" void switch_stacks(std::uint64_t* from, std::uint64_t to);
extern "C" void save_extended_state(std::byte* to);
extern "C" void program_thread_landing(); // guest/arch/program_entry.S

// Vector registers as program_entry.S saves them.
inline constexpr std::size_t saved_vector_bytes = 256;

// The top of the stack of a thread that has not run yet: what switch_stacks() takes off, then what
// program_thread_landing does.
struct alignas(64) NewThreadStack {
  std::uint64_t unused[6];
  std::uint64_t frame[2]; // address of `kept`, both
  std::byte extended_state[EBB_EXTENDED_STATE_BYTES];
  std::uint64_t alignment;
  std::uint64_t kept[6]; // RBX, RBP, R12 to R15
  std::uint64_t landing;
  std::byte vectors[saved_vector_bytes];
  ProgramCall call;
};
static_assert(offsetof(NewThreadStack, extended_state) ==
              offsetof(NewThreadStack, frame) + sizeof(NewThreadStack::frame));
static_assert(offsetof(NewThreadStack, extended_state) % 64 == 0);
static_assert(offsetof(NewThreadStack, vectors) % 16 == 0);
static_assert(sizeof(NewThreadStack) % 64 == 0);

// Top of the calling thread's stack in the kernel; a multiple of 16.
inline std::uint64_t& kernel_stack_top() {
  return *pointer_to<std::uint64_t>({address_of(&vcpu_page()).value + EBB_KERNEL_RSP});
}

// What the call at hand has pushed.
inline const ProgramCall& call_at_hand() {
  return *pointer_to<const ProgramCall>({kernel_stack_top() - sizeof(ProgramCall)});
}

} // namespace guest::arch
