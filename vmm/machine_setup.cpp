// SPDX-License-Identifier: MIT
// How a machine is put together, once, before its guest runs.
#include "shared/guest_status.hpp"
#include "vmm/base/clock.hpp"
#include "vmm/base/file.hpp"
#include "vmm/boot/guest_loader.hpp"
#include "vmm/boot/image_symbols.hpp"
#include "vmm/kvm/host_cpu.hpp"
#include "vmm/machine.hpp"
#include "vmm/probe/probe_vm.hpp"
#include "vmm/probe/unit_costs.hpp"
#include "vmm/vcpu/crash_report.hpp"

namespace vmm {

namespace {

TssType tss_type() {
  return is_emulated_by_qemu() ? TssType::available : TssType::busy;
}

} // namespace

Machine::Machine(const Config& config, Kvm kvm, Vm vm, GuestMemory memory, Image image,
                 Symbols symbols, std::optional<TraceInput> input)
    : config_(config), kvm_(std::move(kvm)), vm_(std::move(vm)), memory_(std::move(memory)),
      image_(std::move(image)), symbols_(std::move(symbols)), input_(std::move(input)),
      plan_(BootPlan::make(image_.header, memory_.end(), memory_.hole(), config.cpus,
                           input_ ? input_->pages().size() : 0)),
      slots_(vm_, memory_) {}

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, Image image, Symbols symbols,
                                                 std::optional<TraceInput> input,
                                                 MachineOutput output) {
  EBB_TRY_ASSIGN(kvm, Kvm::open(config.kvm_device));
  // Before there is a guest: its sandbox leaves no way to make other machines.
  std::optional<UnitCosts> unit_costs;
  if (config.keeps_ledger()) {
    unit_costs = measure_unit_costs(kvm, config);
  }
  EBB_TRY_ASSIGN(vm, kvm.create_vm());
  // Neither guests nor hosts of ABI 1.0 know of a hole, or of the interrupts that need one.
  const bool is_1_1 = image.header.version_minor >= 1 && config.abi_minor >= 1;
  const RamHole hole = is_1_1 ? interrupt_hole : RamHole{};
  EBB_TRY_ASSIGN(memory, GuestMemory::create(config.mem_bytes, config.backing, hole));
  std::unique_ptr<Machine> machine(new Machine(config, std::move(kvm), std::move(vm),
                                               std::move(memory), std::move(image),
                                               std::move(symbols), std::move(input)));
  machine->unit_costs_ = unit_costs;
  if (output.trace) {
    machine->trace_target_.emplace(std::move(*output.trace));
  }
  EBB_TRY(machine->set_up(std::move(output)));
  return machine;
}

Result<void> Machine::set_up(MachineOutput output) {
  // Images of ABI 1.0 have no stubs for interrupts and wait by hypercall.
  interrupts_ = image_.header.version_minor >= 1 && config_.abi_minor >= 1 && kvm_.has_interrupts();
  if (config_.cpus > 1 && !interrupts_) {
    return user_error("--cpus {}: this image or this KVM can run only one vCPU", config_.cpus);
  }
  if (interrupts_) {
    EBB_TRY(vm_.create_interrupt_controller());
  }
  if (config_.transport == Transport::vmcall) {
    EBB_TRY_ASSIGN(instruction, require_vmcall(kvm_));
    EBB_TRY(vm_.let_out_hypercalls());
    doorbell_ = instruction;
  }
  EBB_TRY(set_up_memory());
  EBB_TRY(set_up_services(std::move(output)));
  return set_up_vcpus();
}

Result<void> Machine::set_up_memory() {
  if (image_.header.memory_bytes + (std::uint64_t{8} << 20) > config_.mem_bytes) {
    return user_error("--mem {} MiB is too small for this image of {} MiB", config_.mem_bytes >> 20,
                      image_.header.memory_bytes >> 20);
  }
  // Host structures, image and stacks are touched page by page; huge pages there would only make
  // an idle guest dearer.
  EBB_TRY(memory_.set_small_page_prefix(plan_.free_start));
  EBB_TRY(slots_.plug(abi::Gpa{0}));
  plan_.trace_ring_bytes = records() ? EBB_TRACE_RING_BYTES : 0;
  if (config_.gdb) {
    plan_.debug_stubs = GuestDebugger::stubs();
  }
  if (input_) {
    EBB_TRY(slots_.map_input(plan_.input_gpa, input_->pages()));
  }
  load_guest(memory_, plan_, image_);
  status_ = memory_.object_at<abi::GuestStatus>({EBB_STATUS_GPA});
  return {};
}

// Null for an honest host: nobody at a prompt may change its answers, and no plan does.
Result<std::unique_ptr<Adversary>> Machine::make_adversary(const DiscardOptions& discard,
                                                           const HintEvents& events) {
  if (!config_.host_faults.any() && !config_.step) {
    return nullptr;
  }
  FaultsByHand by_hand;
  if (config_.step) {
    by_hand = [this](const Batch& batch, BatchFaults& faults) {
      stepper_->at_batch(batch, faults);
    };
  }
  return Adversary::create(memory_, plan_.vcpus,
                           {.discard = discard,
                            .faults = config_.host_faults,
                            .seed = config_.seed,
                            .stop_fd = end_->stop_fd()},
                           discard_calls_, events, std::move(by_hand));
}

Result<void> Machine::set_up_services(MachineOutput output) {
  EBB_TRY_ASSIGN(end, GuestEnd::create());
  end_ = std::move(end);
  const DiscardOptions options{.method = config_.discard, .decline_below = config_.decline_below};
  const HintServiceOptions hint_options{
      .discard = options, .mode = config_.host, .workers = config_.workers};
  const HintEvents events{.interrupt =
                              [this](unsigned channel) {
                                if (wake_lines_) {
                                  wake_lines_->wake(channel);
                                }
                              },
                          .violation =
                              [this](const HintViolation& violation) {
                                end_->end({EndKind::crashed, 0,
                                           "guest crash: check of hints: " + violation.describe()});
                              }};
  EBB_TRY_ASSIGN(adversary, make_adversary(options, events));
  EBB_TRY_ASSIGN(hints, HintService::create(memory_, plan_.vcpus, hint_options, discard_calls_,
                                            events, std::move(adversary), &observers_));
  hints_ = std::move(hints);
  on_interrupted_ = std::move(output.interrupted);
  on_terminal_ = std::move(output.terminal);
  Console::Copy copy;
  if (config_.oracle == OracleUse::on) {
    oracle_ = std::make_unique<Oracle>(memory_, [this](const std::string& what) {
      end_->end({EndKind::host_failed, 0, what});
    });
    copy = [this](abi::Gpa gpa, std::span<const std::byte> bytes) {
      return oracle_->copy(gpa, bytes);
    };
  }
  console_.emplace(memory_, std::move(output.console), std::move(copy));
  set_up_meter();
  sampler_ = std::make_unique<Sampler>(
      SamplerSources{.resident_bytes = resident_source(),
                     .guest = [this] { return read_guest_sample(*status_); },
                     .ever_resident_bytes =
                         [this] {
                           return ever_resident_ ? std::optional(ever_resident_->bytes())
                                                 : std::nullopt;
                         },
                     .now_ns = monotonic_ns,
                     .wait_ns = monotonic_wait_ns,
                     .observer =
                         [this, observer = std::move(output.observer)](const MemorySample& sample) {
                           if (trace_) {
                             trace_->memory_sample(sample);
                           }
                           if (observer) {
                             observer(sample);
                           }
                         }},
      config_.sample_period);
  discard_moments_.emplace(*sampler_);
  std::function<void(unsigned, abi::Hypercall, std::uint64_t)> on_call;
  if (records()) {
    on_call = [this](unsigned vcpu, abi::Hypercall call, std::uint64_t argument) {
      Machine::on_call(vcpu, call, argument);
    };
  }
  hypercalls_ = std::make_unique<Hypercalls>(
      HypercallTargets{.memory = memory_,
                       .slots = slots_,
                       .console = *console_,
                       .end = *end_,
                       .symbols = symbols_,
                       .features_offered = features_offered(),
                       .on_call = std::move(on_call),
                       .free_start = plan_.free_start,
                       .on_hello = [this](const abi::GuestHello& hello) { on_hello(hello); },
                       .on_start_vcpus = [this] { vcpu_threads_.run_others(); },
                       .on_workload_begin = [this] { on_workload_begin(); },
                       .on_workload_end = [this](std::uint64_t ns) { on_workload_end(ns); }});
  return {};
}

// What the page tables are asked for, and how much is resident. Measuring is no condition of
// running.
void Machine::set_up_meter() {
  if (auto scan = FrameScan::create(memory_)) {
    scan_ = std::make_unique<FrameScan>(std::move(*scan));
  }
  if (auto meter = ResidentMeter::create(memory_, scan_.get())) {
    meter_ = std::make_unique<ResidentMeter>(std::move(*meter));
  }
  if (!scan_) {
    return;
  }
  if (oracle_) {
    scan_->subscribe(*oracle_);
  }
  if (auto lookup = FrameScan::create(memory_)) {
    ever_resident_ = std::make_unique<EverResident>(memory_, std::move(*lookup));
    scan_->subscribe(*ever_resident_);
  }
  if (config_.keeps_ledger()) {
    reuse_ = std::make_unique<ReuseWatch>(memory_);
    scan_->subscribe(*reuse_);
  }
}

std::function<Result<std::uint64_t>(std::uint64_t, Occasion)> Machine::resident_source() {
  if (!meter_) {
    return {};
  }
  return
      [this](std::uint64_t now_ns, Occasion occasion) { return meter_->sample(now_ns, occasion); };
}

std::uint64_t Machine::features_offered() const {
  std::uint64_t features = abi::features_1_0;
  if (config_.abi_minor == 0) {
    return features;
  }
  if (doorbell_ != abi::Doorbell::port) {
    features |= abi::feature_vmcall;
  }
  if (interrupts_) {
    features |= abi::feature_interrupt | abi::feature_smp | abi::feature_retune;
    if (config_.host != HostMode::sync || config_.host_faults.any()) {
      features |= abi::feature_async;
    }
  }
  if (config_.prefault) {
    features |= abi::feature_prefault;
  }
  if (records()) {
    features |= abi::feature_trace;
  }
  return features;
}

// Whoever tells the guest of a new policy also wakes it: an idle guest should act on it.
Result<void> Machine::set_up_control() {
  auto* const info = memory_.object_at<abi::BootInfo>({EBB_BOOT_INFO_GPA});
  report_control_ = std::make_unique<ReportControlWriter>(
      info->control,
      ReportSettings{config_.report, config_.report_timeout_ns, config_.report_automatic},
      [this] {
        if (wake_lines_) {
          wake_lines_->wake_all();
        }
      },
      [this](const ReportSettings& settings) {
        if (trace_) {
          trace_->policy(settings);
        }
      });
  if (!config_.control) {
    return {};
  }
  const auto commands = std::make_shared<ControlCommands>(
      ControlTargets{.report = *report_control_,
                     .automatic = [this](const abi::ReportPolicy& base) { return automatic(base); },
                     .hints = [this] { return hints_->totals(); },
                     .memory = [this] { return sampler_->latest(); },
                     .guest_bytes = memory_.size_bytes()});
  EBB_TRY_ASSIGN(socket, ControlSocket::create(*config_.control, [commands](std::string_view line) {
                   return commands->execute(line);
                 }));
  control_socket_ = std::move(socket);
  return {};
}

Result<void> Machine::set_up_vcpus() {
  for (unsigned index = 0; index < plan_.vcpus; ++index) {
    EBB_TRY_ASSIGN(vcpu, vm_.create_vcpu(index));
    EBB_TRY(kvm_.apply_supported_cpuid(vcpu));
    if (interrupts_) {
      EBB_TRY(vcpu.set_up_interrupts(EBB_TIMER_VECTOR, EBB_SPURIOUS_VECTOR));
    }
    EBB_TRY_ASSIGN(initial, vcpu.system_registers());
    EBB_TRY(vcpu.set_system_registers(boot_system_registers(initial, plan_, index, tss_type())));
    EBB_TRY(vcpu.set_registers(boot_registers(plan_, image_.header, index)));
    vcpus_.push_back(std::move(vcpu));
  }
  EBB_TRY_ASSIGN(tsc_khz, vcpus_[0].tsc_khz());
  EBB_TRY(set_up_trace(tsc_khz));
  set_up_observers();
  if (config_.report_automatic) {
    config_.report = automatic(config_.report);
  }
  if (config_.step) {
    set_up_stepper();
  }
  write_boot_info(memory_, config_, plan_,
                  {.features = features_offered(),
                   .doorbell = doorbell_,
                   .input_bytes = input_ ? input_->bytes() : 0,
                   .plugged_end = slots_.plugged_end(),
                   .tsc_khz = tsc_khz,
                   .trace_level = trace_ ? config_.trace_level : abi::TraceLevel::off});
  for (unsigned index = 0; index < plan_.vcpus; ++index) {
    auto runner =
        std::make_unique<VcpuRunner>(vcpus_[index], index, *hypercalls_, *hints_, *end_, symbols_);
    runner->set_observer(trace_.get());
    runner->set_hook(gate_.get());
    runner->set_oracle(oracle_.get());
    vcpu_threads_.add(std::move(runner));
  }
  if (interrupts_) {
    EBB_TRY_ASSIGN(lines, WakeLines::create(vm_, plan_.vcpus));
    wake_lines_ = std::move(lines);
  }
  EBB_TRY(set_up_debugger());
  return set_up_control();
}

Result<void> Machine::set_up_debugger() {
  if (!config_.gdb) {
    return {};
  }
  const auto monitor = std::make_shared<DebugMonitor>(
      DebugMonitorSources{.hints = [this] { return hints_->totals(); },
                          .memory = [this] { return sampler_->sample(); },
                          .quarantined_bytes = [this] { return read_quarantined_bytes(*status_); },
                          .guest_bytes = memory_.size_bytes()});
  EBB_TRY_ASSIGN(
      debugger,
      GuestDebugger::create(
          {.memory = memory_,
           .end = *end_,
           .plan = plan_,
           .trap_stubs_gpa = image_.header.trap_stubs_gpa,
           .tss = tss_type(),
           .plugged_end = [this] { return slots_.plugged_end(); },
           .input = input_ ? ReadOnlyArea{plan_.input_gpa, input_->pages()} : ReadOnlyArea{},
           .kick = [this](unsigned index) { vcpu_threads_.kick(index); },
           .monitor = [monitor](std::string_view line) { return monitor->execute(line); }},
          vcpus_));
  debugger_ = std::move(debugger);
  for (const auto& runner : vcpu_threads_.runners()) {
    runner->set_hook(debugger_.get());
  }
  EBB_TRY_ASSIGN(server, GdbServer::create(*config_.gdb, *debugger_, *end_));
  gdb_server_ = std::move(server);
  return {};
}

Result<void> Machine::set_up_trace(std::uint32_t tsc_khz) {
  if (!records()) {
    return {};
  }
  if (!trace_target_) {
    EBB_TRY_ASSIGN(unnamed, TraceTarget::unnamed());
    trace_target_.emplace(std::move(unnamed));
  }
  EBB_TRY_ASSIGN(trace, TraceRecorder::create(std::move(*trace_target_),
                                              {.level = config_.trace_level,
                                               .ring_bytes = config_.trace_bytes,
                                               .vcpus = plan_.vcpus,
                                               .tsc_khz = tsc_khz,
                                               .policy = config_.report,
                                               .method = config_.discard,
                                               .image = absolute_path(config_.image),
                                               .image_hash = image_hash(image_.bytes),
                                               .host = std::string(name_of(config_.host))},
                                              memory_));
  trace_ = std::move(trace);
  if (scan_) {
    scan_->subscribe(*trace_);
  }
  return {};
}

// The oracle first: it holds the memory of a batch while the others look at it.
void Machine::set_up_observers() {
  if (oracle_) {
    observers_.add(*oracle_);
  }
  if (trace_) {
    observers_.add(*trace_);
  }
  observers_.add(*discard_moments_);
  if (ever_resident_) {
    observers_.add(*ever_resident_);
  }
  // Last: it measures what discarding costs, not what watching does.
  if (reuse_) {
    observers_.add(*reuse_);
  }
}

void Machine::set_up_stepper() {
  gate_ = std::make_unique<VcpuGate>(plan_.vcpus, VcpuThreads::kick_signal);
  using AfterDetach = LiveStepperParts::AfterDetach;
  stepper_ = std::make_unique<LiveStepper>(LiveStepperParts{
      .recorder = *trace_,
      .gate = *gate_,
      .end = *end_,
      .guest = {.memory = memory_,
                .symbols = symbols_,
                .vcpus = plan_.vcpus,
                .registers =
                    [this](unsigned vcpu) { return dump_registers(vcpus_[vcpu], symbols_); }},
      .console = [this](const hvtrace::StepLoop& loop,
                        int stop_fd) { return step_console_.run(loop, stop_fd); },
      .after_detach = config_.trace ? AfterDetach::record : AfterDetach::mute});
}

} // namespace vmm
