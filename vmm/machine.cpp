// SPDX-License-Identifier: MIT
#include "vmm/machine.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <span>
#include <utility>

#include "vmm/base/clock.hpp"
#include "vmm/measure/auto_policy.hpp"
#include "vmm/probe/unit_costs.hpp"
#include "vmm/profile/timed_profile.hpp"
#include "vmm/sockets/socket_address.hpp"
#include "vmm/vcpu/crash_report.hpp"

namespace vmm {

Result<std::unique_ptr<Machine>> Machine::create(Config config, GuestFiles files,
                                                 std::optional<TraceTarget> trace,
                                                 MachineOutput output) {
  // Closed again before anything runs: with it could be made further machines.
  EBB_TRY_ASSIGN(kvm, Kvm::open(config.kvm_device));
  std::optional<UnitCosts> unit_costs;
  if (config.keeps_ledger()) {
    unit_costs = measure_unit_costs(kvm, config);
  }
  if (config.report_automatic) {
    config.report =
        auto_policy(unit_costs.value_or(UnitCosts{}), config.memory_price_ns, config.report);
  }
  std::unique_ptr<Machine> machine(new Machine(std::move(output)));
  EBB_TRY(machine->build(config, std::move(files), unit_costs, kvm, std::move(trace)));
  return machine;
}

Result<void> Machine::build(const Config& config, GuestFiles files,
                            std::optional<UnitCosts> unit_costs, const Kvm& kvm,
                            std::optional<TraceTarget> trace) {
  EBB_TRY_ASSIGN(end, GuestEnd::create());
  end_ = std::move(end);
  EBB_TRY_ASSIGN(guest, GuestMachine::create(kvm, config, std::move(files)));
  guest_ = std::move(guest);
  EBB_TRY_ASSIGN(marks, MemoryMarks::create());
  marks_ = std::move(marks);
  const auto seen = [&marks = *marks_, &observer = output_.observer](const MemorySample& sample) {
    marks.look(sample);
    if (observer) {
      observer(sample);
    }
  };
  EBB_TRY_ASSIGN(watch, Watch::create(config, *guest_, *end_, unit_costs, std::move(trace), seen));
  watch_ = std::move(watch);
  stepping_ = make_stepping(config);
  EBB_TRY_ASSIGN(hints, HintSide::create(config, *guest_, *end_, hint_friends()));
  hints_ = std::move(hints);
  CoreLeaver core;
  if (output_.core && !watch_->oracle()) { // which keeps memory from being looked at
    core = [this](CoreFacts facts) { return output_.core(std::move(facts), *guest_); };
  }
  EBB_TRY_ASSIGN(companions, Companions::create(config, *guest_, *end_, *marks_, *watch_, *hints_,
                                                std::move(core)));
  companions_ = std::move(companions);
  if (config.profile_hz != 0) {
    EBB_TRY_ASSIGN(profile,
                   GuestProfile::create(
                       {.vcpus = guest_->vcpus(),
                        .memory = guest_->memory(),
                        .plugged_end = [&guest = *guest_] { return guest.slots().plugged_end(); },
                        .signal = VcpuThreads::kick_signal,
                        .lines = config.profile_lines ? CodeLines::read : CodeLines::no,
                        .times = is_timed_profile(config.profile_out.value_or(std::string()))
                                     ? SampleTimes::kept
                                     : SampleTimes::forgotten},
                       config.profile_hz));
    profile_ = std::move(profile);
  }
  EBB_TRY_ASSIGN(file_service, make_files(config));
  files_ = std::move(file_service);
  EBB_TRY_ASSIGN(socket_service, make_sockets(config));
  sockets_ = std::move(socket_service);
  if (files_) {
    program_signals_ = std::make_unique<ProgramSignals>(guest_->first_vcpu_page(),
                                                        [&guest = *guest_] { guest.wake(0); });
  }
  milestones_ = std::make_unique<Milestones>(
      config, MilestoneParts{.guest = *guest_,
                             .end = *end_,
                             .watch = *watch_,
                             .hints = *hints_,
                             .stepper = stepping_ ? &stepping_->stepper() : nullptr});
  loops_ = make_loops();
  if (config.metrics) {
    EBB_TRY_ASSIGN(metrics, MetricsOutput::create(*config.metrics, config.metrics_period,
                                                  [this] { return output_.stats(*this); }));
    metrics_ = std::move(metrics);
  }
  return {};
}

std::unique_ptr<StepSession> Machine::make_stepping(const Config& config) {
  if (!config.step) {
    return nullptr;
  }
  using AfterDetach = StepSession::AfterDetach;
  return std::make_unique<StepSession>(*watch_->trace(), *end_,
                                       LiveGuest{.memory = guest_->memory(),
                                                 .symbols = guest_->symbols(),
                                                 .vcpus = guest_->plan().vcpus,
                                                 .registers =
                                                     [&guest = *guest_](unsigned vcpu) {
                                                       return dump_registers(guest.vcpus()[vcpu],
                                                                             guest.symbols());
                                                     }},
                                       config.trace ? AfterDetach::record : AfterDetach::mute);
}

HintSideFriends Machine::hint_friends() {
  HintSideFriends friends{.observer = watch_->hint_observer()};
  if (TraceRecorder* const trace = watch_->trace(); trace != nullptr) {
    friends.policies = [trace](const ReportSettings& settings) { trace->policy(settings); };
  }
  if (stepping_) {
    friends.faults_by_hand = [&stepper = stepping_->stepper()](const Batch& batch,
                                                               BatchFaults& faults) {
      stepper.at_batch(batch, faults);
    };
  }
  return friends;
}

Result<std::unique_ptr<FileService>> Machine::make_files(const Config& config) {
  if (guest_->program() == nullptr) {
    return nullptr;
  }
  EBB_TRY_ASSIGN(streams, StreamWatch::create(guest_->first_vcpu_page(),
                                              [&guest = *guest_] { guest.wake(0); }));
  streams_ = std::move(streams);
  FileCalls::Wishes wishes{
      .watch = [&watch = *streams_](std::uint32_t stream,
                                    short events) { watch.watch(stream, events); },
      .stop = BlockedSignals::stop_process};
  if (profile_) {
    wishes.code = [&code = profile_->code()](const FileCalls::CodeFile& file,
                                             const abi::FileCall& call) {
      code.add({.fd = file.fd,
                .path = file.path,
                .device = file.device,
                .inode = file.inode,
                .file_bytes = file.bytes,
                .address = call.buffer_gpa,
                .offset = call.offset,
                .bytes = call.length,
                .open = file.open});
    };
  }
  EBB_TRY_ASSIGN(mounts, FileMounts::open(config.program.root_directory(), config.program.binds));
  return FileService::create(
      FileCalls(std::move(mounts), guest_->memory(), end_->stop_fd(), std::move(wishes)),
      guest_->memory(), guest_->plan().vcpus);
}

Result<std::unique_ptr<SocketService>> Machine::make_sockets(const Config& config) {
  if (!config.network.any()) {
    return nullptr;
  }
  EBB_TRY_ASSIGN(network, AllowedNetwork::open(config.network));
  for (const HostPort& port : network.ports()) {
    if (port.was_chosen()) {
      chosen_ports_.push_back(
          fmt::format("port {} of the guest is {}", port.guest_port(), text_of(port.address())));
    }
  }
  return SocketService::create(std::move(network), guest_->memory(), guest_->plan().vcpus,
                               guest_->first_vcpu_page(), [&guest = *guest_] { guest.wake(0); });
}

std::unique_ptr<VcpuLoops> Machine::make_loops() {
  std::function<void()> on_file;
  if (files_) {
    on_file = [&files = *files_] { files.serve(); };
  }
  std::function<void()> on_socket;
  if (sockets_) {
    on_socket = [&sockets = *sockets_] { sockets.serve(); };
  }
  // --step and --gdb exclude each other.
  VcpuHook* const hook = stepping_ ? &stepping_->hook() : companions_->hook();
  return std::make_unique<VcpuLoops>(VcpuLoopParts{.vcpus = guest_->vcpus(),
                                                   .memory = guest_->memory(),
                                                   .slots = guest_->slots(),
                                                   .end = *end_,
                                                   .symbols = guest_->symbols(),
                                                   .hints = hints_->service(),
                                                   .listener = *milestones_,
                                                   .features_offered = guest_->features(),
                                                   .on_file = std::move(on_file),
                                                   .on_socket = std::move(on_socket),
                                                   .free_start = guest_->plan().free_start,
                                                   .console = output_.console,
                                                   .observer = watch_->trace(),
                                                   .oracle = watch_->oracle(),
                                                   .hook = hook,
                                                   .ticks = profile_.get()});
}

GuestEnding Machine::run(const BlockedSignals& signals, Sandbox& sandbox) {
  if (const auto started = start_threads(sandbox); !started) {
    end_->end({EndKind::host_failed, 0, started.error().message});
  }
  watch_->on_first_run();
  guest_->threads().run_first();
  wait_for_end(signals);
  // Whatever the rest waits for (a reader of the console, say), the user can end it.
  BlockedSignals::let_through();
  stop(signals);
  return end_->ending();
}

// All threads that there will ever be, also those that the guest may ask for or not: once it runs,
// the sandbox lets no more be made.
Result<void> Machine::start_threads(Sandbox& sandbox) {
  EBB_TRY(watch_->begin_trace());
  EBB_TRY(sandbox.give_up_privileges());
  EBB_TRY_ASSIGN(talking, companions_->start(sandbox));
  EBB_TRY_ASSIGN(watching, watch_->start(sandbox, guest_->threads()));
  unsigned calling = 0;
  if (metrics_) {
    EBB_TRY(metrics_->start([this, &sandbox] {
      sandbox.enter(ThreadKind::metrics);
      guest_->threads().wait_for_first(); // before that there is nothing to tell
    }));
    ++calling;
  }
  if (files_) {
    EBB_TRY(files_->start(sandbox.start_of(ThreadKind::files)));
    ++calling;
  }
  if (sockets_) {
    EBB_TRY(sockets_->start(sandbox.start_of(ThreadKind::sockets)));
    ++calling;
  }
  const auto vcpu_start = [&sandbox, profile = profile_.get()] {
    if (profile != nullptr) {
      profile->on_thread_start();
    }
    sandbox.enter(ThreadKind::vcpu);
  };
  EBB_TRY(
      guest_->threads().start(vcpu_start, [&loops = *loops_](unsigned vcpu) { loops.run(vcpu); }));
  EBB_TRY_ASSIGN(serving, hints_->service().make_threads(sandbox.start_of(ThreadKind::worker)));
  EBB_TRY(sandbox.complete(talking + watching + calling + guest_->threads().count() + serving));
  return profile_ ? profile_->ready() : Result<void>{};
}

void Machine::wait_for_end(const BlockedSignals& signals) {
  while (!end_->ended()) {
    constexpr std::size_t own = 2;
    std::array<pollfd, own + StreamWatch::descriptors> events{pollfd{end_->stop_fd(), POLLIN, 0},
                                                              pollfd{signals.fd(), POLLIN, 0}};
    std::size_t count = own;
    if (streams_) {
      std::ranges::copy(streams_->wanted(), events.begin() + own);
      count = events.size();
    }
    static_cast<void>(::poll(events.data(), count, -1));
    if (streams_) {
      streams_->take(std::span(events).last<StreamWatch::descriptors>());
    }
    if (const int signal = signals.take(); signal != 0) {
      take_signal(signal);
    }
  }
}

// What a program handles is the program's.
void Machine::take_signal(int signal) {
  const bool is_programs = program_signals_ && program_signals_->pass(signal, monotonic_ns());
  if ((signal == SIGWINCH || signal == SIGCONT) && output_.terminal) {
    output_.terminal(signal);
  } else if (is_programs) {
    return;
  } else if (signal == BlockedSignals::toggle) {
    hints_->control().toggle();
  } else if (signal == SIGTSTP) {
    BlockedSignals::stop_process();
  } else if (BlockedSignals::is_ending(signal)) {
    end_->end({EndKind::interrupted, static_cast<std::uint8_t>(signal),
               "interrupted by " + BlockedSignals::name_of(signal)});
    if (output_.interrupted) {
      output_.interrupted();
    }
  }
}

// First what vCPUs may wait for, then the vCPUs, then what they use.
void Machine::stop(const BlockedSignals& signals) {
  companions_->let_go();
  if (stepping_) {
    stepping_->let_go();
  }
  if (files_) {
    files_->stop();
  }
  if (sockets_) {
    sockets_->stop();
  }
  guest_->threads().stop();
  if (profile_) {
    profile_->stop();
  }
  companions_->say_goodbye();
  hints_->service().stop();
  watch_->stop_sampling();
  if (metrics_) {
    metrics_->stop();
  }
  if (stepping_) {
    stepping_->stepper().at_end(end_->ending(), signals.late_fd());
  }
  watch_->stop_trace(end_->ending());
}

} // namespace vmm
