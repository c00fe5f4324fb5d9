// SPDX-License-Identifier: MIT
// The state a vCPU starts from: 64-bit mode at CPL3 in the guest's first instruction, with page
// tables, GDT, IDT and TSS already in place (Intel SDM volume 3, chapters 4, 6 and 8).
//
// The guest's body never runs at CPL0, which kvm_pvm emulates at about 1 us an instruction; ring 0
// is entered only through the trap stubs the image brings. Memory is mapped one to one. Pages up
// to free_start have 4 KiB entries and exactly the rights they need (writable never executable,
// guard pages absent); RAM above has 2 MiB entries. An image outside RAM has 4 KiB entries and
// rights of its own in the same way.
//
// Pure: writes into a span that stands for guest memory, so tests can walk what it built.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "shared/address.hpp"
#include "shared/image_header.hpp"
#include "shared/layout.h"
#include "vmm/kvm/kvm_api.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

inline constexpr std::uint64_t trap_stack_bytes = 2 * abi::page_bytes;

// Stacks of one vCPU; each is [low, high) with an unmapped guard page below it.
struct VcpuStacks {
  abi::Gpa stack_low, stack_high; // CPL3
  abi::Gpa trap_high;             // RSP0: entered from CPL3 by a trap or interrupt
  abi::Gpa fault_high;            // IST1: NMI and double fault, entered on any stack
};

// Where everything lies, computed once from image, vCPU count and RAM size.
struct BootPlan {
  abi::Gpa ram_end;
  RamHole hole;                       // not RAM and not mapped
  abi::Gpa input_gpa;                 // 0 when there is no input
  std::uint64_t input_bytes = 0;      // mapped read-only at input_gpa, 2 MiB aligned
  std::uint64_t event_ring_bytes = 0; // mapped at EBB_EVENT_RING_GPA; 0 when not traced
  // Trap stubs of the host's own, one for each exception, that go to EBB_DEBUG_CODE_GPA and stand
  // before the guest's; empty without a debugger. At most a page.
  std::span<const std::byte> debug_stubs;
  unsigned vcpus = 1;
  std::array<VcpuStacks, EBB_MAX_VCPUS> stacks;
  abi::Gpa free_start; // first byte of RAM that the guest may use as it likes, page aligned
  // Image, stacks and memory of the guest's own, where they are outside RAM: [own_low, own_end), of
  // which the guest may use [own_start, own_end) as it likes. Of an image in low RAM: empty.
  abi::Gpa own_low, own_start, own_end;
  [[nodiscard]] bool has_own_area() const { return own_end > own_low; }
  abi::Gpa program_gpa; // ProgramStart, in the guest's own memory; 0: no program is run

  // RAM, 2 MiB aligned, must hold image and stacks with room to spare: at least 16 MiB.
  static BootPlan make(const abi::ImageHeader& image, abi::Gpa ram_end, RamHole hole,
                       unsigned vcpus, std::uint64_t input_bytes);

  // Makes room for a program's start, and RAM a place where code may run. False: this image cannot
  // run programs, or there is no room.
  [[nodiscard]] bool add_program(const abi::ImageHeader& image, std::uint64_t start_bytes);
};

// Writes page tables, GDT, IDT and TSSs into `low_ram`, which is guest memory [0, free_start) and
// zero where nothing was written before.
void write_boot_tables(std::span<std::byte> low_ram, const BootPlan& plan,
                       const abi::ImageHeader& image);

// Registers of vCPU `index` at its first instruction: RDI = boot info, RSI = index.
[[nodiscard]] kvm_regs boot_registers(const BootPlan& plan, const abi::ImageHeader& image,
                                      unsigned index);

// The type that the task register's hidden part holds. Processors hold `busy`, and VMX refuses to
// enter the guest with anything else. QEMU's emulation consults the I/O bitmap only of a TSS that
// is `available`, so a guest nested there could not reach its ports otherwise.
enum class TssType : std::uint8_t { available = 0x9, busy = 0xb };
[[nodiscard]] TssType tss_type_here();

// Fills in everything the guest depends on; `initial` is what KVM reports for a new vCPU.
[[nodiscard]] kvm_sregs boot_system_registers(kvm_sregs initial, const BootPlan& plan,
                                              unsigned index, TssType tss = TssType::busy);

} // namespace vmm
