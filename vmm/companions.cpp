// SPDX-License-Identifier: MIT
#include "vmm/companions.hpp"

#include <utility>

#include "vmm/debug/debug_monitor.hpp"
#include "vmm/measure/auto_policy.hpp"

namespace vmm {
namespace {

// Of the control socket, or of a debugger, which holds the vCPUs itself.
std::unique_ptr<ControlCommands> make_commands(VcpuGate* gate, GuestMachine& guest, GuestEnd& end,
                                               MemoryMarks& marks, Watch& watch, HintSide& hints) {
  // Without measured units (order=auto comes by the socket) it takes usual ones.
  const auto automatic = [units = watch.unit_costs().value_or(UnitCosts{}),
                          &price_ns = watch.memory_price_ns()](const abi::ReportPolicy& base) {
    return auto_policy(units, price_ns.load(std::memory_order_relaxed), base);
  };
  return std::make_unique<ControlCommands>(
      ControlTargets{.report = hints.control(),
                     .end = end,
                     .marks = marks,
                     .gate = gate,
                     .automatic = automatic,
                     .memory_price_ns = watch.memory_price_ns(),
                     .hints = [&hints] { return hints.service().totals(); },
                     .memory = [&watch] { return watch.sampler().latest(); },
                     .trace = watch.trace_switch(),
                     .measures_resident = watch.measures_resident(),
                     .guest_bytes = guest.memory().size_bytes()});
}

Result<std::unique_ptr<GuestDebugger>> make_debugger(GuestMachine& guest, GuestEnd& end,
                                                     MemoryMarks& marks, Watch& watch,
                                                     HintSide& hints, CoreLeaver core) {
  const std::shared_ptr<ControlCommands> commands =
      make_commands(nullptr, guest, end, marks, watch, hints);
  const auto monitor = std::make_shared<DebugMonitor>(DebugMonitorSources{
      .hints = [&hints] { return hints.service().totals(); },
      .memory = [&watch] { return watch.sampler().sample(); },
      .quarantined_bytes = [&status = guest.status()] { return read_quarantined_bytes(status); },
      .control = [commands](std::string_view line) { return commands->execute(line).text; },
      .guest_bytes = guest.memory().size_bytes()});
  return GuestDebugger::create(
      {.memory = guest.memory(),
       .end = end,
       .plan = guest.plan(),
       .trap_stubs_gpa = guest.image().header.trap_stubs_gpa,
       .tss = tss_type_here(),
       .plugged_end = [&guest] { return guest.slots().plugged_end(); },
       .input = {guest.plan().input_gpa, guest.input_pages()},
       .kick = [&guest](unsigned vcpu) { guest.threads().kick(vcpu); },
       .monitor = [monitor](std::string_view line) { return monitor->execute(line); },
       .core = std::move(core)},
      guest.vcpus());
}

} // namespace

Result<std::unique_ptr<Companions>> Companions::create(const Config& config, GuestMachine& guest,
                                                       GuestEnd& end, MemoryMarks& marks,
                                                       Watch& watch, HintSide& hints,
                                                       CoreLeaver core) {
  std::unique_ptr<Companions> companions(new Companions(guest.threads()));
  if (config.gdb) {
    EBB_TRY_ASSIGN(debugger, make_debugger(guest, end, marks, watch, hints, std::move(core)));
    companions->debugger_ = std::move(debugger);
    EBB_TRY_ASSIGN(server, GdbServer::create(*config.gdb, *companions->debugger_, end));
    companions->gdb_server_ = std::move(server);
  }
  if (config.control) {
    EBB_TRY(companions->make_control(config, guest, end, marks, watch, hints));
  }
  if (config.pressure == PressureUse::automatic) {
    EBB_TRY(companions->make_pressure(hints));
  }
  return companions;
}

Result<void> Companions::make_pressure(HintSide& hints) {
  auto files = open_pressure_files();
  if (!files) {
    why_no_pressure_ = files.error().message;
    return {};
  }
  EBB_TRY_ASSIGN(watch, PressureWatch::create(std::move(*files), hints.control()));
  pressure_ = std::move(watch);
  return {};
}

Result<void> Companions::make_control(const Config& config, GuestMachine& guest, GuestEnd& end,
                                      MemoryMarks& marks, Watch& watch, HintSide& hints) {
  if (!config.gdb && !config.step) {
    gate_ = std::make_unique<VcpuGate>(guest.plan().vcpus, VcpuThreads::kick_signal);
  }
  commands_ = make_commands(gate_.get(), guest, end, marks, watch, hints);
  using enum ControlCommands::Fault;
  constexpr auto refusal = ControlCommands::refusal;
  EBB_TRY_ASSIGN(socket, ControlSocket::create(
                             *config.control,
                             {.answer =
                                  [&commands = *commands_](std::string_view line, UniqueFd& file) {
                                    return commands.execute(line, file);
                                  },
                              .too_long = [] { return refusal(request, "the line is too long"); },
                              .too_many = [] { return refusal(state, "too many clients"); },
                              .news = &marks.reached()}));
  control_socket_ = std::move(socket);
  return {};
}

VcpuHook* Companions::hook() {
  if (debugger_) {
    return debugger_.get();
  }
  return gate_.get();
}

std::optional<std::string> Companions::gdb_address() const {
  return gdb_server_ ? std::optional(gdb_server_->address()) : std::nullopt;
}

Result<unsigned> Companions::start(Sandbox& sandbox) {
  unsigned threads = 0;
  if (control_socket_) {
    EBB_TRY(control_socket_->start(sandbox.start_of(ThreadKind::control)));
    ++threads;
  }
  if (pressure_) {
    EBB_TRY(pressure_->start(sandbox.start_of(ThreadKind::pressure)));
    ++threads;
  }
  if (gdb_server_) {
    EBB_TRY(gdb_server_->start([this, &sandbox] {
      sandbox.enter(ThreadKind::debugger);
      vcpus_.wait_for_first();
    }));
    ++threads;
  }
  return threads;
}

void Companions::let_go() {
  if (control_socket_) {
    control_socket_->end();
  }
  if (pressure_) {
    pressure_->stop();
  }
  if (gate_) {
    gate_->open_for_good();
  }
  if (debugger_) {
    debugger_->end();
  }
}

} // namespace vmm
