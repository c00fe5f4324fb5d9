// SPDX-License-Identifier: MIT
#include "vmm/boot/guest_loader.hpp"

#include <algorithm>
#include <cassert>
#include <span>

#include "shared/abi_version.hpp"
#include "shared/hypercall.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/settings/guest_arguments.hpp"

namespace vmm {

void load_guest(const GuestMemory& memory, const BootPlan& plan, const Image& image) {
  const std::span<std::byte> low_ram = memory.at({0}, plan.free_start.value);
  write_boot_tables(low_ram, plan, image.header);
  const std::span<std::byte> place = memory.at({image.header.load_gpa}, image.bytes.size());
  std::copy(image.bytes.begin(), image.bytes.end(), place.begin());
  for (unsigned index = 0; index < plan.vcpus; ++index) {
    const abi::Gpa gpa{EBB_VCPU_PAGE_GPA + std::uint64_t{index} * abi::page_bytes};
    auto* const page = memory.object_at<abi::VcpuPage>(gpa);
    page->self_gpa = gpa.value;
    page->vcpu = index;
    page->stack_low_gpa = plan.stacks[index].stack_low.value;
    page->stack_high_gpa = plan.stacks[index].stack_high.value;
  }
}

void write_boot_info(const GuestMemory& memory, const Config& config, const BootPlan& plan,
                     const BootFacts& facts) {
  auto* const info = memory.object_at<abi::BootInfo>({EBB_BOOT_INFO_GPA});
  *info = abi::BootInfo{};
  info->version_major = abi::version_major;
  info->version_minor = config.abi_minor;
  info->struct_bytes = abi::boot_info_bytes(config.abi_minor);
  info->features_offered = facts.features;
  info->doorbell = facts.doorbell;
  info->wake_vector = EBB_WAKE_VECTOR;
  info->ram_bytes = memory.end().value;
  info->hole_start_gpa = memory.hole().start.value;
  info->hole_end_gpa = memory.hole().end.value;
  info->free_start_gpa = plan.free_start.value;
  info->plugged_end_gpa = facts.plugged_end.value;
  info->plug_bytes = MemorySlots::plug_bytes;
  info->input_gpa = plan.input_gpa.value;
  info->input_bytes = facts.input_bytes;
  info->seed = config.seed;
  info->tsc_khz = facts.tsc_khz;
  info->vcpus = plan.vcpus;
  info->trace_level = static_cast<std::uint32_t>(facts.trace_level);
  info->prefault_order = config.prefault.value_or(abi::Order{}).value;
  info->own_start_gpa = plan.own_start.value;
  info->own_end_gpa = plan.own_end.value;
  info->program_gpa = plan.program_gpa.value;
  info->page_table_gpa = plan.program_gpa.value != 0 ? EBB_PAGE_TABLE_GPA : 0;
  info->report = config.report;
  info->control.policy = config.report;
  info->control.timeout_ns = config.report_timeout_ns;
  const std::string args = encode_guest_args(config);
  assert(args.size() <= sizeof info->args);
  info->args_bytes = static_cast<std::uint32_t>(args.size());
  std::copy(args.begin(), args.end(), info->args);
}

} // namespace vmm
