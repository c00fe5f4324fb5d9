// SPDX-License-Identifier: MIT
// One guest and all that serves it, from construction to the end: owners in the order in which they
// rely on each other, and the order in which they start and stop. Holds no process-wide state but
// signal handling during run().
//
//   GuestMachine   RAM with everything in it, vCPUs, slots, lines
//   Watch          what measures and records
//   StepSession    --step
//   HintSide       what answers hints, and tells the guest how to report
//   Companions     control socket, debugger
//   GuestProfile   --profile
//   FileService    what a program sees of the host's files
//   SocketService  what it reaches of the host's network
//   Milestones     what the guest's hello and workload mean to all of these
//   VcpuLoops      what vCPU threads run
//   MetricsOutput  what tells of all of them while the guest runs
//
// Each is whole once it is made, and refers to earlier ones only. A further service with threads of
// its own is one more owner, made before whoever calls it and started in start_threads().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/blocked_signals.hpp"
#include "vmm/companions.hpp"
#include "vmm/control/memory_marks.hpp"
#include "vmm/files/file_service.hpp"
#include "vmm/files/stream_watch.hpp"
#include "vmm/guest_machine.hpp"
#include "vmm/hint_side.hpp"
#include "vmm/milestones.hpp"
#include "vmm/profile/guest_profile.hpp"
#include "vmm/program_signals.hpp"
#include "vmm/record/trace_target.hpp"
#include "vmm/report/metrics_output.hpp"
#include "vmm/report/stats.hpp"
#include "vmm/sandbox/sandbox.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/sockets/host_port.hpp"
#include "vmm/sockets/socket_service.hpp"
#include "vmm/step/step_session.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/vcpu_loops.hpp"
#include "vmm/watch.hpp"

namespace vmm {

class Machine;

// Where a machine's output goes; called from its threads.
struct MachineOutput {
  std::function<void(std::string_view)> console;     // text of the guest
  std::function<void(const MemorySample&)> observer; // each memory sample
  // With --metrics: what there is to tell of it while it runs.
  std::function<RunStats(const Machine&)> stats;
  // With --core: leaves the guest as a debugger has stopped it; a line for who asked.
  std::function<std::string(CoreFacts, const GuestMachine&)> core;
  std::function<void()> interrupted;        // by a signal: nothing may keep the end waiting
  std::function<void(int signal)> terminal; // SIGWINCH or SIGCONT came
};

class Machine {
 public:
  // Builds everything up to the first KVM_RUN. `trace`: of --trace.
  static Result<std::unique_ptr<Machine>>
  create(Config config, GuestFiles files, std::optional<TraceTarget> trace, MachineOutput output);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Where a debugger is waited for, for gdb's `target remote`; empty without --gdb.
  [[nodiscard]] std::optional<std::string> gdb_address() const {
    return companions_->gdb_address();
  }

  // Why --pressure has no effect here; empty: it has, or was not asked for.
  [[nodiscard]] const std::string& why_no_pressure() const {
    return companions_->why_no_pressure();
  }

  // Ports of the guest's that the host has chosen ones for, a line each; of --listen.
  [[nodiscard]] const std::vector<std::string>& chosen_ports() const { return chosen_ports_; }

  // Runs until the guest ends, by itself or by a signal. Once. `signals` was made before
  // the machine. From here on the process has only what `sandbox` leaves it. Signals have their
  // usual effect on the caller once the guest has ended.
  GuestEnding run(const BlockedSignals& signals, Sandbox& sandbox);

  // After run(): what there is to tell.
  [[nodiscard]] const GuestMachine& guest() const { return *guest_; }
  [[nodiscard]] const Watch& watch() const { return *watch_; }
  [[nodiscard]] const HintSide& hints() const { return *hints_; }
  [[nodiscard]] const VcpuLoops& loops() const { return *loops_; }
  [[nodiscard]] const GuestProfile* profile() const { return profile_.get(); } // null: not asked
  // Why the last metrics could not be written, if so.
  [[nodiscard]] Result<void> metrics_result() const {
    return metrics_ ? metrics_->result() : Result<void>{};
  }

 private:
  explicit Machine(MachineOutput output) : output_(std::move(output)) {}

  [[nodiscard]] Result<void> build(const Config& config, GuestFiles files,
                                   std::optional<UnitCosts> unit_costs, const Kvm& kvm,
                                   std::optional<TraceTarget> trace);
  [[nodiscard]] std::unique_ptr<StepSession> make_stepping(const Config& config);
  [[nodiscard]] HintSideFriends hint_friends();
  [[nodiscard]] Result<std::unique_ptr<FileService>> make_files(const Config& config);
  [[nodiscard]] Result<std::unique_ptr<SocketService>> make_sockets(const Config& config);
  [[nodiscard]] std::unique_ptr<VcpuLoops> make_loops();
  [[nodiscard]] Result<void> start_threads(Sandbox& sandbox);
  void wait_for_end(const BlockedSignals& signals);
  void take_signal(int signal);
  void stop(const BlockedSignals& signals);

  // In order of construction.
  const MachineOutput output_;
  std::vector<std::string> chosen_ports_;
  std::unique_ptr<GuestEnd> end_;
  std::unique_ptr<GuestMachine> guest_;
  std::unique_ptr<MemoryMarks> marks_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<StepSession> stepping_; // null without --step
  std::unique_ptr<HintSide> hints_;
  std::unique_ptr<Companions> companions_;
  std::unique_ptr<GuestProfile> profile_;           // null without --profile
  std::unique_ptr<StreamWatch> streams_;            // null unless a program is run
  std::unique_ptr<FileService> files_;              // with streams_
  std::unique_ptr<SocketService> sockets_;          // null unless a program has a network
  std::unique_ptr<ProgramSignals> program_signals_; // with files_
  std::unique_ptr<Milestones> milestones_;
  std::unique_ptr<VcpuLoops> loops_;
  std::unique_ptr<MetricsOutput> metrics_; // null without --metrics; last: it asks all others
};

} // namespace vmm
