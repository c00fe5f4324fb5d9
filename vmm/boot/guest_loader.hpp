// SPDX-License-Identifier: MIT
// Fills guest memory before the first instruction: tables, image, vCPU pages and boot info.
#pragma once

#include <cstdint>

#include "shared/boot_info.hpp"
#include "vmm/boot/boot_state.hpp"
#include "vmm/boot/image.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/settings/config.hpp"

namespace vmm {

// Tables, image and vCPU pages, into memory that is there up to plan.free_start and in
// [plan.own_low, plan.own_end), and all zero.
void load_guest(const GuestMemory& memory, const BootPlan& plan, const Image& image);

// What boot info says besides the configuration and the plan.
struct BootFacts {
  std::uint64_t features = 0;
  abi::Doorbell doorbell = abi::Doorbell::port;
  std::uint64_t input_bytes = 0; // of the file, not of its pages
  abi::Gpa plugged_end;
  std::uint32_t tsc_khz = 0;
  abi::TraceLevel trace_level = abi::TraceLevel::off;
};

void write_boot_info(const GuestMemory& memory, const Config& config, const BootPlan& plan,
                     const BootFacts& facts);

} // namespace vmm
