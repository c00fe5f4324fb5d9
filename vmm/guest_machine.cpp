// SPDX-License-Identifier: MIT
#include "vmm/guest_machine.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "shared/abi_version.hpp"
#include "shared/hypercall.hpp"
#include "shared/layout.h"
#include "vmm/boot/guest_loader.hpp"
#include "vmm/debug/guest_debugger.hpp"
#include "vmm/probe/probe_vm.hpp"

namespace vmm {
namespace {

// What image and tables leave must be worth running a guest for.
constexpr std::uint64_t least_room_bytes = std::uint64_t{8} << 20;

// Neither guests nor hosts of ABI 1.0 know of interrupts, or of the hole that they need in RAM.
bool is_1_1(const Image& image, const Config& config) {
  return image.header.version_minor >= 1 && config.abi_minor >= 1;
}

BootPlan make_plan(const Config& config, const GuestFiles& files, const GuestMemory& memory) {
  BootPlan plan = BootPlan::make(files.image.header, memory.end(), memory.hole(), config.cpus,
                                 files.input ? files.input->pages().size() : 0);
  plan.event_ring_bytes = config.guest_is_traced ? EBB_EVENT_RING_BYTES : 0;
  if (config.gdb) {
    plan.debug_stubs = GuestDebugger::stubs();
  }
  return plan;
}

std::uint64_t features_offered(const Config& config, const GuestFiles& files,
                               abi::Doorbell doorbell, bool interrupts) {
  std::uint64_t features = abi::features_1_0;
  if (config.abi_minor == 0) {
    return features;
  }
  if (doorbell != abi::Doorbell::port) {
    features |= abi::feature_vmcall;
  }
  if (interrupts) {
    features |= abi::feature_interrupt | abi::feature_smp | abi::feature_retune;
    if (config.host != HostMode::sync || config.host_faults.any()) {
      features |= abi::feature_async;
    }
  }
  if (config.prefault) {
    features |= abi::feature_prefault;
  }
  if (config.guest_is_traced) {
    features |= abi::feature_trace;
  }
  if (!files.program.empty()) {
    features |= abi::feature_files;
    if (config.network.any()) {
      features |= abi::feature_sockets;
    }
  }
  return features;
}

} // namespace

Result<std::unique_ptr<GuestMachine>> GuestMachine::create(const Kvm& kvm, const Config& config,
                                                           GuestFiles files) {
  EBB_TRY_ASSIGN(vm, kvm.create_vm());
  const RamHole hole = is_1_1(files.image, config) ? interrupt_hole : RamHole{};
  EBB_TRY_ASSIGN(memory, GuestMemory::create(config.mem_bytes, config.backing, hole));
  const bool interrupts = is_1_1(files.image, config) && kvm.has_interrupts();
  if (config.cpus > 1 && !interrupts) {
    return user_error("--cpus {}: this image or this KVM can run only one vCPU", config.cpus);
  }
  if (interrupts) {
    EBB_TRY(vm.create_interrupt_controller());
  }
  abi::Doorbell doorbell = abi::Doorbell::port;
  if (config.transport == Transport::vmcall) {
    EBB_TRY_ASSIGN(instruction, require_vmcall(kvm));
    EBB_TRY(vm.let_out_hypercalls());
    doorbell = instruction;
  }
  BootPlan plan = make_plan(config, files, memory);
  if (plan.has_own_area() && config.abi_minor < 2) {
    return user_error(
        "--abi 1.{}: such a host wants its guest's image at {:#x}; take guest-low.bin",
        config.abi_minor, EBB_LOW_IMAGE_GPA);
  }
  if (!files.program.empty() && !plan.add_program(files.image.header, files.program.size())) {
    return user_error("{}: this image cannot run programs", config.image);
  }
  if (!plan.has_own_area() &&
      files.image.header.memory_bytes + least_room_bytes > config.mem_bytes) {
    return user_error("--mem {} MiB is too small for this image of {} MiB", config.mem_bytes >> 20,
                      files.image.header.memory_bytes >> 20);
  }
  EBB_TRY_ASSIGN(processors, make_processors(kvm, vm, config.cpus, interrupts));
  const std::uint64_t features = features_offered(config, files, doorbell, interrupts);
  std::unique_ptr<GuestMachine> machine(new GuestMachine(
      std::move(vm), std::move(memory), std::move(files), plan, std::move(processors), features));
  EBB_TRY(machine->load(config, doorbell));
  return machine;
}

GuestMachine::GuestMachine(Vm vm, GuestMemory memory, GuestFiles files, const BootPlan& plan,
                           Processors&& processors, std::uint64_t features)
    : vm_(std::move(vm)), memory_(std::move(memory)), files_(std::move(files)), plan_(plan),
      features_(features), tsc_khz_(processors.tsc_khz), slots_(vm_, memory_),
      vcpus_(std::move(processors.vcpus)), lines_(std::move(processors.lines)), threads_(vcpus_) {}

Result<GuestMachine::Processors> GuestMachine::make_processors(const Kvm& kvm, const Vm& vm,
                                                               unsigned count, bool interrupts) {
  Processors made;
  for (unsigned index = 0; index < count; ++index) {
    EBB_TRY_ASSIGN(vcpu, vm.create_vcpu(index));
    EBB_TRY(kvm.apply_supported_cpuid(vcpu));
    if (interrupts) {
      EBB_TRY(vcpu.set_up_interrupts(EBB_TIMER_VECTOR, EBB_SPURIOUS_VECTOR));
    }
    made.vcpus.push_back(std::move(vcpu));
  }
  EBB_TRY_ASSIGN(tsc_khz, made.vcpus[0].tsc_khz());
  made.tsc_khz = tsc_khz;
  if (interrupts) {
    EBB_TRY_ASSIGN(lines, WakeLines::create(vm, count));
    made.lines = std::move(lines);
  }
  return made;
}

Result<void> GuestMachine::load(const Config& config, abi::Doorbell doorbell) {
  // Host structures, image and stacks are touched page by page; huge pages there would only make
  // an idle guest dearer.
  EBB_TRY(memory_.set_small_page_prefix(plan_.free_start));
  EBB_TRY(slots_.plug(abi::Gpa{0}));
  if (plan_.has_own_area()) {
    EBB_TRY(memory_.add_own_area(plan_.own_low, plan_.own_end));
    EBB_TRY(slots_.map_own_area());
  }
  if (files_.input) {
    EBB_TRY(slots_.map_input(plan_.input_gpa, files_.input->pages()));
  }
  load_guest(memory_, plan_, files_.image);
  std::ranges::copy(files_.program, memory_.at(plan_.program_gpa, files_.program.size()).begin());
  write_boot_info(
      memory_, config, plan_,
      {.features = features_,
       .doorbell = doorbell,
       .input_bytes = files_.input ? files_.input->bytes() : 0,
       .plugged_end = slots_.plugged_end(),
       .tsc_khz = tsc_khz_,
       .trace_level = config.guest_is_traced ? config.trace_level : abi::TraceLevel::off});
  for (unsigned index = 0; index < vcpus_.size(); ++index) {
    const Vcpu& vcpu = vcpus_[index];
    EBB_TRY_ASSIGN(initial, vcpu.system_registers());
    EBB_TRY(
        vcpu.set_system_registers(boot_system_registers(initial, plan_, index, tss_type_here())));
    if (!files_.program.empty()) {
      EBB_TRY(vcpu.set_up_programs({files_.image.header.syscall_gpa}));
    }
    EBB_TRY(vcpu.set_registers(boot_registers(plan_, files_.image.header, index)));
  }
  return {};
}

std::span<const std::byte> GuestMachine::input_pages() const {
  return files_.input ? files_.input->pages() : std::span<const std::byte>{};
}

abi::GuestStatus& GuestMachine::status() const {
  auto* const status = memory_.object_at<abi::GuestStatus>({EBB_STATUS_GPA});
  assert(status != nullptr); // RAM always holds the reserved area
  return *status;
}

abi::ReportControl& GuestMachine::report_control() const {
  auto* const info = memory_.object_at<abi::BootInfo>({EBB_BOOT_INFO_GPA});
  assert(info != nullptr); // likewise
  return info->control;
}

const abi::ProgramStart* GuestMachine::program() const {
  return files_.program.empty() ? nullptr : memory_.object_at<abi::ProgramStart>(plan_.program_gpa);
}

abi::VcpuPage& GuestMachine::first_vcpu_page() const {
  auto* const page = memory_.object_at<abi::VcpuPage>({EBB_VCPU_PAGE_GPA});
  assert(page != nullptr); // likewise
  return *page;
}

void GuestMachine::allow_wake_ups() {
  if (lines_) {
    lines_->allow();
  }
}

void GuestMachine::wake(unsigned vcpu) const {
  if (lines_) {
    lines_->wake(vcpu);
  }
}

void GuestMachine::wake_all() const {
  if (lines_) {
    lines_->wake_all();
  }
}

Result<void> GuestMachine::bind_doorbell(int event, unsigned channel) const {
  return vm_.bind_doorbell(event, EBB_PORT_DOORBELL, channel);
}

} // namespace vmm
