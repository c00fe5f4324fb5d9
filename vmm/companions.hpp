// SPDX-License-Identifier: MIT
// Who may talk to the vmm from outside while its guest runs: clients of the control socket, a
// debugger, and the kernel when memory is short. Any of them or none.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/control/control_commands.hpp"
#include "vmm/control/control_socket.hpp"
#include "vmm/control/memory_marks.hpp"
#include "vmm/control/pressure_watch.hpp"
#include "vmm/debug/gdb_server.hpp"
#include "vmm/debug/guest_debugger.hpp"
#include "vmm/guest_machine.hpp"
#include "vmm/hint_side.hpp"
#include "vmm/sandbox/sandbox.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/vcpu_gate.hpp"
#include "vmm/vcpu/vcpu_hook.hpp"
#include "vmm/watch.hpp"

namespace vmm {

// As GuestDebuggerParts has it.
using CoreLeaver = std::function<std::string(CoreFacts)>;

class Companions {
 public:
  // All but `config` outlive them; `core`: of a debugger. With a debugger all vCPUs are held from
  // now on. User error when a socket cannot be made.
  static Result<std::unique_ptr<Companions>> create(const Config& config, GuestMachine& guest,
                                                    GuestEnd& end, MemoryMarks& marks, Watch& watch,
                                                    HintSide& hints, CoreLeaver core);
  Companions(const Companions&) = delete;
  Companions& operator=(const Companions&) = delete;

  // Every vCPU's: the debugger, or the gate that clients close. Null without both.
  [[nodiscard]] VcpuHook* hook();
  // For gdb's `target remote`; empty without a debugger.
  [[nodiscard]] std::optional<std::string> gdb_address() const;
  // Why pressure is not heard of though it was asked for; empty: it is.
  [[nodiscard]] const std::string& why_no_pressure() const { return why_no_pressure_; }

  // Starts the threads, and says how many. The debugger's waits until vCPU 0 may run: before that
  // there is nobody to kick.
  [[nodiscard]] Result<unsigned> start(Sandbox& sandbox);

  // The guest has ended: nobody asks or changes anything any more, and no vCPU waits for a client
  // or a debugger.
  void let_go();
  // The vCPUs have ended: a debugger is told so.
  void say_goodbye() { gdb_server_.reset(); }

 private:
  explicit Companions(VcpuThreads& vcpus) : vcpus_(vcpus) {}
  [[nodiscard]] Result<void> make_control(const Config& config, GuestMachine& guest, GuestEnd& end,
                                          MemoryMarks& marks, Watch& watch, HintSide& hints);
  [[nodiscard]] Result<void> make_pressure(HintSide& hints);

  VcpuThreads& vcpus_;
  std::string why_no_pressure_;
  std::unique_ptr<PressureWatch> pressure_;       // null without --pressure, or where nobody tells
  std::unique_ptr<VcpuGate> gate_;                // null: nobody can close it
  std::unique_ptr<ControlCommands> commands_;     // with control_socket_
  std::unique_ptr<ControlSocket> control_socket_; // null without --control
  std::unique_ptr<GuestDebugger> debugger_;
  std::unique_ptr<GdbServer> gdb_server_; // with debugger_
};

} // namespace vmm
