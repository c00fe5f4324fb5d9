// SPDX-License-Identifier: MIT
// A guest under a debugger: what the protocol wants done (DebugTarget), done to vCPUs and memory.
//
//   vCPU threads                                   the debugger's thread
//   before_entry() ---- VcpuBrake ---------------- stop(), resume()
//   on_debug_port(): a trap -> DebuggedVcpu, reported -> stop_event()
//
// While a vCPU is held its thread waits, and the debugger's thread uses the vCPU in its place.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/debug/breakpoints.hpp"
#include "vmm/debug/core_file.hpp"
#include "vmm/debug/debug_target.hpp"
#include "vmm/debug/debugged_vcpu.hpp"
#include "vmm/debug/guest_view.hpp"
#include "vmm/debug/vcpu_brake.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/vcpu_hook.hpp"

namespace vmm {

// What it works on; references outlive it.
struct GuestDebuggerParts {
  const GuestMemory& memory;
  GuestEnd& end;
  const BootPlan& plan;
  std::uint64_t trap_stubs_gpa = 0;
  TssType tss = TssType::busy; // that the vCPUs have
  std::function<abi::Gpa()> plugged_end;
  ReadOnlyArea input; // may be empty
  // Gets a vCPU's thread out of KVM_RUN, and keeps it from entering again (immediate_exit).
  VcpuBrake::Kick kick;
  std::function<std::string(std::string_view)> monitor;
  // Leaves the guest as it is now as a core file, of which the facts lack the program's name. What
  // there is to say of it; empty: no file was named.
  std::function<std::string(CoreFacts)> core{};
};

class GuestDebugger final : public DebugTarget, public VcpuHook {
 public:
  // The stubs that the guest's traps must lead to: BootPlan::debug_stubs.
  [[nodiscard]] static std::span<const std::byte> stubs();

  // The vCPUs have their boot registers, and outlive the object. All of them are held.
  static Result<std::unique_ptr<GuestDebugger>> create(GuestDebuggerParts parts,
                                                       std::span<const Vcpu> vcpus);

  // --- VcpuHook -------------------------------------------------------------------------------
  [[nodiscard]] bool before_entry(unsigned vcpu, std::uint8_t& immediate_exit) override;
  // False when that was not one of the host's stubs.
  [[nodiscard]] bool on_debug_port(unsigned vcpu) override;
  // kvm_pvm does not trap behind an output, so a step ends here.
  void after_output(unsigned vcpu) override;
  // Returns when the debugger, if there is one, has seen enough.
  void before_end(unsigned vcpu, FatalEnd why) override;

  // Any thread: the guest has ended, nobody waits any more.
  void end() { brake_->end(); }

  // --- DebugTarget ----------------------------------------------------------------------------
  [[nodiscard]] unsigned vcpus() const override { return static_cast<unsigned>(seats_.size()); }
  [[nodiscard]] int stop_event() const override { return brake_->event(); }
  [[nodiscard]] bool take_stop_event() override { return brake_->take_event(); }
  DebugStop stop() override;
  void resume(std::span<const VcpuResume> actions) override;
  [[nodiscard]] std::optional<DebugRegisters> registers(unsigned vcpu) override;
  [[nodiscard]] bool set_registers(unsigned vcpu, const DebugRegisters& registers) override;
  [[nodiscard]] std::size_t read_memory(unsigned vcpu, std::uint64_t address,
                                        std::span<std::byte> to) override;
  [[nodiscard]] bool write_memory(unsigned vcpu, std::uint64_t address,
                                  std::span<const std::byte> from) override;
  [[nodiscard]] bool insert_breakpoint(unsigned vcpu, std::uint64_t address) override;
  void remove_breakpoint(std::uint64_t address) override;
  [[nodiscard]] std::string describe(unsigned vcpu) override;
  void attach() override { attached_ = true; }
  void release() override;
  void kill() override;
  // `core` here, all others by parts.
  [[nodiscard]] std::string monitor(std::string_view command) override;

 private:
  struct Seat {
    DebuggedVcpu vcpu;
    bool stepping = false;              // a step is under way
    bool step_cancelled = false;        // its trap may still come
    std::optional<DebugTrap> exception; // what it stopped for, rewound
  };
  enum class Arrival : std::uint8_t { none, handled, stopped };

  explicit GuestDebugger(GuestDebuggerParts parts);

  // Deals with the trap that the vCPU has arrived by, if any.
  [[nodiscard]] Result<Arrival> take_trap(unsigned vcpu, DebugStop& stop);
  [[nodiscard]] std::optional<std::uint64_t> cr3_of(unsigned vcpu) const;
  [[nodiscard]] std::string leave_core();
  void fail(const Error& error);
  // False, and the guest ended, for an error.
  bool done(const Result<void>& result);

  GuestDebuggerParts parts_;
  GuestView view_;
  Breakpoints breakpoints_;
  // A seat belongs to its vCPU's thread, or while that is held to the debugger's.
  std::vector<Seat> seats_;
  std::unique_ptr<VcpuBrake> brake_;
  std::atomic<bool> attached_{false};
  // Of the debugger's thread: all vCPUs are held. If not, because the guest has ended, seats and
  // breakpoints are not to be touched.
  bool held_ = false;
  unsigned told_vcpu_ = 0; // of the debugger's thread: whose stop it has heard of last
};

} // namespace vmm
