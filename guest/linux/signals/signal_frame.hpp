// SPDX-License-Identifier: MIT
// What lies on a program's stack while a handler runs: struct rt_sigframe of Linux on x86-64
// (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h), from which rt_sigreturn goes back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/linux/signals/registers.hpp"
#include "guest/linux/signals/signals.hpp"

namespace guest::linux {

struct SignalContext { // struct sigcontext
  std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  std::uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, flags;
  std::uint16_t cs, gs, fs, ss;
  std::uint64_t error_code, vector, blocked, fault_address;
  std::uint64_t extended_state; // address
  std::array<std::uint64_t, 8> reserved;
};

struct SignalInformation { // siginfo_t
  std::int32_t signal, error, code, padding;
  union {
    struct {
      std::int32_t process;
      std::uint32_t user;
    } sender;
    struct {
      std::int32_t number;
      std::int32_t overruns;
    } timer;
    std::uint64_t address;
  };
  std::uint64_t value;
  std::array<std::uint64_t, 12> rest;
};
static_assert(sizeof(SignalInformation) == 128);
[[nodiscard]] SignalInformation information_of(const SignalCause& cause);

struct SignalFrame {
  std::uint64_t restorer;
  // struct ucontext
  std::uint64_t flags;
  std::uint64_t link;
  AlternateStack stack;
  SignalContext context;
  SignalSet blocked;
  SignalInformation information;
};
static_assert(offsetof(SignalFrame, context) == 8 + 40);
static_assert(sizeof(SignalContext) == 256);
static_assert(offsetof(SignalFrame, information) == 8 + 304);
static_assert(sizeof(SignalFrame) == 8 + 304 + 128);

// Where a handler's frame goes.
struct SignalPlace {
  std::uint64_t frame = 0; // its lowest address, and RSP in the handler
  std::uint64_t extended_state = 0;
};
// `stack` is where the stack at hand ends; `state_bytes` include the mark behind the state.
[[nodiscard]] SignalPlace place_below(std::uint64_t stack, std::size_t state_bytes);

// Bytes that a state takes in memory, with what marks it as one that XSAVE has written.
[[nodiscard]] constexpr std::size_t marked_state_bytes(std::size_t state_bytes) {
  return state_bytes + sizeof(std::uint32_t);
}
// Marks the copy of a state; `copy` has room for the mark behind it.
void mark_state(std::span<std::byte> copy, const ExtendedState& state);
// Makes of what a program left behind a state that can be loaded: XRSTOR faults on any other.
void clean_state(const ExtendedState& state);
// A state in which all registers are as after reset.
void clear_state(const ExtendedState& state);

[[nodiscard]] SignalFrame make_frame(const Registers& registers, const Signals::Taken& taken,
                                     const AlternateStack& stack, const SignalPlace& place);
// Registers for the handler's first instruction.
void enter_handler(Registers& registers, const Signals::Taken& taken, const SignalPlace& place);
// And those to go on with behind it. What no program may set stays.
void leave_handler(Registers& registers, const SignalContext& context);

} // namespace guest::linux
