// SPDX-License-Identifier: MIT
// One virtual machine: owns memory, vCPUs and services in the order they depend on each other, and
// runs them to the end. Holds no process-wide state but signal handling during run().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "vmm/base/blocked_signals.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/boot/boot_state.hpp"
#include "vmm/boot/image.hpp"
#include "vmm/boot/trace_input.hpp"
#include "vmm/control/control_commands.hpp"
#include "vmm/control/control_socket.hpp"
#include "vmm/control/report_control_writer.hpp"
#include "vmm/debug/debug_monitor.hpp"
#include "vmm/debug/gdb_server.hpp"
#include "vmm/debug/guest_debugger.hpp"
#include "vmm/hints/adversary/adversary.hpp"
#include "vmm/hints/discard_calls.hpp"
#include "vmm/hints/hint_observers.hpp"
#include "vmm/hints/hint_service.hpp"
#include "vmm/hints/oracle.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/kvm/wake_lines.hpp"
#include "vmm/measure/discard_moments.hpp"
#include "vmm/measure/ever_resident.hpp"
#include "vmm/measure/ledger.hpp"
#include "vmm/measure/reuse_watch.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/resident_meter.hpp"
#include "vmm/record/trace_recorder.hpp"
#include "vmm/sandbox/sandbox.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/step/live_stepper.hpp"
#include "vmm/trace/step_console.hpp"
#include "vmm/vcpu/console.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/hypercalls.hpp"
#include "vmm/vcpu/vcpu_gate.hpp"
#include "vmm/vcpu/vcpu_runner.hpp"
#include "vmm/vcpu/vcpu_threads.hpp"

namespace vmm {

// Where a machine's output goes; called from its threads.
struct MachineOutput {
  std::function<void(std::string_view)> console;     // text of the guest
  std::function<void(const MemorySample&)> observer; // each memory sample
  std::function<void()> interrupted;        // by a signal: nothing may keep the end waiting
  std::function<void(int signal)> terminal; // SIGWINCH or SIGCONT came
  std::optional<TraceTarget> trace;         // of --trace
};

// What was measured, besides what the services count themselves.
struct RunTimes {
  std::uint64_t first_run_ns = 0;      // monotonic clock
  std::uint64_t workload_begin_ns = 0; // 0: never got there
  std::uint64_t workload_end_ns = 0;   // 0: never got there
  // Of the process at these moments.
  struct Usage {
    std::uint64_t minor_faults = 0;
    double cpu_seconds = 0; // guest, user and system
  };
  Usage at_begin;
  Usage at_end;
};

class Machine {
 public:
  // Builds everything up to the first KVM_RUN. `image` and `input` are taken over.
  static Result<std::unique_ptr<Machine>> create(const Config& config, Image image, Symbols symbols,
                                                 std::optional<TraceInput> input,
                                                 MachineOutput output);

  // Where a debugger is waited for, for gdb's `target remote`; empty without --gdb.
  [[nodiscard]] std::optional<std::string> gdb_address() const {
    return gdb_server_ ? std::optional(gdb_server_->address()) : std::nullopt;
  }

  // Runs until the guest ends, by itself or by a signal. Once. `signals` was made before
  // the machine. From here on the process has only what `sandbox` leaves it. Signals have their
  // usual effect on the caller once the guest has ended.
  GuestEnding run(const BlockedSignals& signals, Sandbox& sandbox);

  // After run().
  [[nodiscard]] HintTotals hint_totals() const { return hints_->totals(); }
  [[nodiscard]] HostMode host_mode() const { return hints_->mode(); }
  [[nodiscard]] std::optional<OracleTotals> oracle() const; // empty: there is none
  [[nodiscard]] const Sampler& sampler() const { return *sampler_; }
  [[nodiscard]] const RunTimes& times() const { return times_; }
  [[nodiscard]] const std::optional<Settled>& settled() const { return settled_; }
  [[nodiscard]] const GuestMemory& memory() const { return memory_; }
  [[nodiscard]] const abi::GuestStatus& guest_status() const { return *status_; }
  [[nodiscard]] const TraceRecorder* trace() const { return trace_.get(); } // null: none
  [[nodiscard]] ExitTotals exits() const { return vcpu_threads_.totals(); }
  [[nodiscard]] const Hypercalls& hypercalls() const { return *hypercalls_; }
  // What became of discarded memory; empty where the kernel does not tell or nobody wants to know.
  [[nodiscard]] std::optional<OrderUses> order_uses() const;
  // Measured before the guest was made; empty unless config.keeps_ledger().
  [[nodiscard]] const std::optional<UnitCosts>& unit_costs() const { return unit_costs_; }
  // What the guest was told last.
  [[nodiscard]] ReportSettings report_settings() const { return report_control_->settings(); }
  [[nodiscard]] ReportChanges report_changes() const { return report_control_->changes(); }
  // CPU time spent on discarding; passed time where CPU time was not measured.
  [[nodiscard]] std::uint64_t discard_ns() const;

 private:
  Machine(const Config& config, Kvm kvm, Vm vm, GuestMemory memory, Image image, Symbols symbols,
          std::optional<TraceInput> input);

  [[nodiscard]] Result<void> set_up(MachineOutput output);
  [[nodiscard]] Result<void> set_up_memory();
  [[nodiscard]] Result<void> set_up_vcpus();
  [[nodiscard]] Result<void> set_up_control();
  [[nodiscard]] Result<void> set_up_services(MachineOutput output);
  void set_up_meter();
  [[nodiscard]] std::function<Result<std::uint64_t>(std::uint64_t, Occasion)> resident_source();
  [[nodiscard]] Result<void> set_up_debugger();
  [[nodiscard]] Result<void> set_up_trace(std::uint32_t tsc_khz);
  [[nodiscard]] Result<std::unique_ptr<Adversary>> make_adversary(const DiscardOptions& discard,
                                                                  const HintEvents& events);
  void set_up_observers();
  [[nodiscard]] abi::ReportPolicy automatic(const abi::ReportPolicy& policy) const;
  void set_up_stepper();
  [[nodiscard]] bool records() const { return config_.trace || config_.step; }
  [[nodiscard]] std::uint64_t features_offered() const;
  [[nodiscard]] Result<void> start_threads(Sandbox& sandbox);
  void on_call(unsigned vcpu, abi::Hypercall call, std::uint64_t argument);
  void on_hello(const abi::GuestHello& hello);
  void on_workload_begin();
  void on_workload_end(std::uint64_t since_last_free_ns);

  // In order of construction: later members refer to earlier ones.
  Config config_;
  Kvm kvm_;
  Vm vm_;
  GuestMemory memory_;
  Image image_;
  Symbols symbols_;
  std::optional<TraceInput> input_;
  BootPlan plan_;
  abi::GuestStatus* status_ = nullptr; // in guest memory
  MemorySlots slots_;
  std::unique_ptr<GuestEnd> end_;
  SystemDiscardCalls discard_calls_;
  std::optional<TraceTarget> trace_target_; // until trace_ takes it
  std::unique_ptr<TraceRecorder> trace_;    // null when nothing is recorded
  std::optional<UnitCosts> unit_costs_;     // empty when nobody asked for them
  std::unique_ptr<Oracle> oracle_;          // null when nobody asked for it
  std::unique_ptr<ReuseWatch> reuse_;       // null where the kernel does not tell, and without need
  std::unique_ptr<EverResident> ever_resident_;   // null where the kernel does not tell
  std::optional<DiscardMoments> discard_moments_; // with sampler_
  HintObservers observers_;
  std::unique_ptr<HintService> hints_;
  std::optional<Console> console_;
  std::unique_ptr<FrameScan> scan_;      // null where the kernel has none
  std::unique_ptr<ResidentMeter> meter_; // null where resident memory cannot be measured
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<Hypercalls> hypercalls_;
  std::vector<Vcpu> vcpus_;
  std::unique_ptr<WakeLines> wake_lines_; // null where there are no interrupts
  std::unique_ptr<ReportControlWriter> report_control_;
  std::function<void()> on_interrupted_;
  std::function<void(int)> on_terminal_;
  std::unique_ptr<ControlSocket> control_socket_;
  std::unique_ptr<VcpuGate> gate_; // null unless somebody may hold the guest
  hvtrace::StepConsole step_console_;
  std::unique_ptr<LiveStepper> stepper_;    // null unless asked for
  std::unique_ptr<GuestDebugger> debugger_; // null when nobody debugs
  abi::Doorbell doorbell_ = abi::Doorbell::port;
  bool interrupts_ = false; // there is an interrupt controller
  VcpuThreads vcpu_threads_;
  std::unique_ptr<GdbServer> gdb_server_; // with debugger_; its thread may use all the others
  RunTimes times_;                        // written by vCPU threads, read after they ended
  std::optional<Settled> settled_;        // likewise
};

} // namespace vmm
