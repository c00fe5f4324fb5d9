// SPDX-License-Identifier: MIT
#include "guest/linux/signals/signal_frame.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t state_alignment = 64;
constexpr std::uint64_t stack_alignment = 16;

// struct _fpx_sw_bytes, in what FXSAVE leaves to software.
struct StateMark {
  std::uint32_t magic;
  std::uint32_t marked_bytes;
  std::uint64_t features;
  std::uint32_t state_bytes;
  std::array<std::uint32_t, 7> padding;
};
static_assert(sizeof(StateMark) == 48);
constexpr std::size_t mark_offset = 464;
constexpr std::uint32_t first_magic = 0x46505853;  // FP_XSTATE_MAGIC1
constexpr std::uint32_t second_magic = 0x46505845; // FP_XSTATE_MAGIC2, behind the state
constexpr std::uint64_t context_flags =
    1 | 2 | 4;                           // UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
constexpr std::size_t mxcsr_offset = 24; // in FXSAVE's area
constexpr std::uint32_t mxcsr_known = 0xffff;

// In RFLAGS: carry, parity, adjust, zero, sign, direction, overflow, alignment check,
// identification.
constexpr std::uint64_t programs_flags =
    0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800 | 0x40000 | 0x200000;
constexpr std::uint64_t direction_and_traps = 0x400 | 0x100 | 0x10000; // DF, TF, RF

} // namespace

SignalPlace place_below(std::uint64_t stack, std::size_t state_bytes) {
  const std::uint64_t state = abi::align_down(stack - state_bytes, state_alignment);
  // As behind a call: RSP + 8 is a multiple of 16.
  const std::uint64_t frame =
      abi::align_down(state - sizeof(SignalFrame), stack_alignment) - sizeof(std::uint64_t);
  return {.frame = frame, .extended_state = state};
}

void mark_state(std::span<std::byte> copy, const ExtendedState& state) {
  const std::size_t bytes = state.bytes.size();
  const StateMark mark{.magic = first_magic,
                       .marked_bytes = static_cast<std::uint32_t>(marked_state_bytes(bytes)),
                       .features = state.features,
                       .state_bytes = static_cast<std::uint32_t>(bytes),
                       .padding = {}};
  std::memcpy(copy.data() + mark_offset, &mark, sizeof mark);
  std::memcpy(copy.data() + bytes, &second_magic, sizeof second_magic);
}

void clean_state(const ExtendedState& state) {
  std::byte* const header = state.bytes.data() + ExtendedState::legacy_bytes;
  std::uint64_t present = 0;
  std::memcpy(&present, header, sizeof present);
  present &= state.features;
  std::memset(header, 0, ExtendedState::header_bytes);
  std::memcpy(header, &present, sizeof present);
  std::uint32_t mxcsr = 0;
  std::memcpy(&mxcsr, state.bytes.data() + mxcsr_offset, sizeof mxcsr);
  mxcsr &= mxcsr_known;
  std::memcpy(state.bytes.data() + mxcsr_offset, &mxcsr, sizeof mxcsr);
}

void clear_state(const ExtendedState& state) {
  constexpr std::uint32_t mxcsr = 0x1f80; // after reset; XRSTOR loads it whatever is present
  std::ranges::fill(state.bytes.first(ExtendedState::legacy_bytes + ExtendedState::header_bytes),
                    std::byte{0});
  std::memcpy(state.bytes.data() + mxcsr_offset, &mxcsr, sizeof mxcsr);
}

SignalInformation information_of(const SignalCause& cause) {
  SignalInformation information{};
  information.signal = static_cast<std::int32_t>(cause.signal);
  information.code = cause.code;
  if (cause.code > SI_USER && cause.signal != SIGCHLD) { // of the kernel
    information.address = cause.address;
    return information;
  }
  information.value = cause.value;
  if (cause.code == SI_TIMER) {
    information.timer = {.number = cause.timer, .overruns = cause.overruns};
  } else {
    information.sender = {.process = cause.process, .user = cause.user};
  }
  return information;
}

SignalFrame make_frame(const Registers& registers, const Signals::Taken& taken,
                       const AlternateStack& stack, const SignalPlace& place) {
  const SignalCause& cause = taken.cause;
  SignalFrame frame{};
  frame.restorer = taken.action.restorer;
  frame.flags = context_flags;
  frame.stack = stack;
  frame.context = {.r8 = registers.r8,
                   .r9 = registers.r9,
                   .r10 = registers.r10,
                   .r11 = registers.r11,
                   .r12 = registers.r12,
                   .r13 = registers.r13,
                   .r14 = registers.r14,
                   .r15 = registers.r15,
                   .rdi = registers.rdi,
                   .rsi = registers.rsi,
                   .rbp = registers.rbp,
                   .rbx = registers.rbx,
                   .rdx = registers.rdx,
                   .rax = registers.rax,
                   .rcx = registers.rcx,
                   .rsp = registers.rsp,
                   .rip = registers.rip,
                   .flags = registers.flags,
                   .cs = static_cast<std::uint16_t>(registers.cs),
                   .gs = 0,
                   .fs = 0,
                   .ss = static_cast<std::uint16_t>(registers.ss),
                   .error_code = registers.error_code,
                   .vector = registers.vector,
                   .blocked = taken.blocked_before,
                   .fault_address = registers.fault_address,
                   .extended_state = place.extended_state,
                   .reserved = {}};
  frame.blocked = taken.blocked_before;
  frame.information = information_of(cause);
  return frame;
}

void enter_handler(Registers& registers, const Signals::Taken& taken, const SignalPlace& place) {
  registers.rdi = taken.cause.signal;
  registers.rsi = place.frame + offsetof(SignalFrame, information);
  registers.rdx = place.frame + offsetof(SignalFrame, flags);
  registers.rax = 0;
  registers.rsp = place.frame;
  registers.rip = taken.action.handler;
  registers.flags &= ~direction_and_traps;
}

void leave_handler(Registers& registers, const SignalContext& context) {
  registers.r8 = context.r8;
  registers.r9 = context.r9;
  registers.r10 = context.r10;
  registers.r11 = context.r11;
  registers.r12 = context.r12;
  registers.r13 = context.r13;
  registers.r14 = context.r14;
  registers.r15 = context.r15;
  registers.rdi = context.rdi;
  registers.rsi = context.rsi;
  registers.rbp = context.rbp;
  registers.rbx = context.rbx;
  registers.rdx = context.rdx;
  registers.rax = context.rax;
  registers.rcx = context.rcx;
  registers.rsp = context.rsp;
  registers.rip = context.rip;
  registers.flags = (registers.flags & ~programs_flags) | (context.flags & programs_flags);
}

} // namespace guest::linux
