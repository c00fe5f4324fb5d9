// SPDX-License-Identifier: MIT
// What a debugger's protocol needs of a guest. vmm/debug/guest_debugger.hpp is the real one; tests
// have one without KVM.
//
// A guest is stopped or goes as a whole: stop() returns when no vCPU runs, and everything that
// reads or changes the guest may be called only between stop() and resume().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vmm {

enum class StopReason : std::uint8_t {
  halted,     // nothing happened: the debugger asked for it
  breakpoint, // the instruction at RIP is a breakpoint of the debugger's
  stepped,    // one instruction was carried out
  exception,  // the instruction at RIP raised one; DebugStop::vector
  panic,      // the guest found its own invariant broken, and is about to end
  crash,      // the guest can go no further, and is about to end
};

struct DebugStop {
  unsigned vcpu = 0;
  StopReason reason = StopReason::halted;
  std::uint8_t vector = 0;
};

enum class VcpuAction : std::uint8_t {
  stay, // stopped
  go,
  step, // one instruction at CPL3; code of ring 0 counts as part of the one that led there
};

// How a vCPU goes on.
struct VcpuResume {
  VcpuAction action = VcpuAction::go;
  // The exception that it stopped for is the guest's now; otherwise the instruction is tried again.
  bool pass_exception = false;
};

// Registers as gdb knows them. Every field is exactly as large as in gdb's protocol.
struct DebugRegisters {
  std::array<std::uint64_t, 16> general{}; // rax rbx rcx rdx rsi rdi rbp rsp r8...r15
  std::uint64_t rip = 0;
  std::uint32_t eflags = 0;
  std::array<std::uint32_t, 6> segments{}; // cs ss ds es fs gs; selectors
  std::array<std::array<std::byte, 10>, 8> x87{};
  std::array<std::uint32_t, 8> x87_control{}; // fctrl fstat ftag fiseg fioff foseg fooff fop
  std::array<std::array<std::byte, 16>, 16> xmm{};
  std::uint32_t mxcsr = 0;
  std::uint64_t fs_base = 0;
  std::uint64_t gs_base = 0;
  std::array<std::uint64_t, 5> control{}; // cr0 cr2 cr3 cr4 efer

  bool operator==(const DebugRegisters&) const = default;
};

class DebugTarget {
 public:
  virtual ~DebugTarget() = default;

  // 1...EBB_MAX_VCPUS, those included that have not started.
  [[nodiscard]] virtual unsigned vcpus() const = 0;

  // --- While the guest goes -----------------------------------------------------------------
  // Readable when a vCPU has stopped by itself.
  [[nodiscard]] virtual int stop_event() const = 0;
  // Whether one has; takes note of the event.
  [[nodiscard]] virtual bool take_stop_event() = 0;
  // Stops all vCPUs and says why: what a vCPU stopped for by itself, else `halted`. When several
  // stopped, the others are as if they had not yet got there.
  virtual DebugStop stop() = 0;

  // --- While it is stopped ------------------------------------------------------------------
  // An action for each vCPU.
  virtual void resume(std::span<const VcpuResume> actions) = 0;
  // Empty or false when the host refuses. What cannot be changed (segments, control registers; in
  // ring 0 also general registers, RIP and flags) is as it was: false when it differs.
  [[nodiscard]] virtual std::optional<DebugRegisters> registers(unsigned vcpu) = 0;
  [[nodiscard]] virtual bool set_registers(unsigned vcpu, const DebugRegisters& registers) = 0;
  // Memory as the guest's page tables show it to the vCPU, without breakpoints in it. Returns how
  // many bytes from `address` on there are.
  [[nodiscard]] virtual std::size_t read_memory(unsigned vcpu, std::uint64_t address,
                                                std::span<std::byte> to) = 0;
  // All or nothing.
  [[nodiscard]] virtual bool write_memory(unsigned vcpu, std::uint64_t address,
                                          std::span<const std::byte> from) = 0;
  // False where there can be none. Inserting one that is there succeeds, as does removing one
  // that is not.
  [[nodiscard]] virtual bool insert_breakpoint(unsigned vcpu, std::uint64_t address) = 0;
  virtual void remove_breakpoint(std::uint64_t address) = 0;
  // A few words on what the vCPU is doing.
  [[nodiscard]] virtual std::string describe(unsigned vcpu) = 0;

  // --- Always -------------------------------------------------------------------------------
  // A debugger is there: the guest stops for it where it would end by a crash. Until release().
  virtual void attach() = 0;
  // Removes breakpoints and lets the guest go on without a debugger. It may be stopped or not.
  virtual void release() = 0;
  // Ends the guest.
  virtual void kill() = 0;
  // Answer to a `monitor` command: lines.
  [[nodiscard]] virtual std::string monitor(std::string_view command) = 0;
};

} // namespace vmm
