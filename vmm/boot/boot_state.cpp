// SPDX-License-Identifier: MIT
#include "vmm/boot/boot_state.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "shared/boot_info.hpp"
#include "shared/page_table_entry.hpp"
#include "vmm/boot/image.hpp"
#include "vmm/kvm/host_cpu.hpp"

namespace vmm {

namespace {

constexpr std::uint64_t stack_bytes = std::uint64_t{64} << 10;
constexpr std::uint64_t fault_stack_bytes = 2 * abi::page_bytes;

// What a guest may want of its own: six bytes a frame for its allocator, and some for other data.
constexpr std::uint64_t own_bytes_for(abi::Gpa ram_end) {
  constexpr std::uint64_t other_bytes = std::uint64_t{16} << 20;
  return other_bytes + ram_end.value / abi::page_bytes * 6;
}
// The largest image, all stacks and the most RAM, with a hole of 1 GiB.
static_assert(EBB_IMAGE_GPA + max_image_bytes + EBB_MAX_VCPUS * (std::uint64_t{128} << 10) +
                  own_bytes_for({max_guest_memory_bytes + (std::uint64_t{1} << 30)}) +
                  abi::huge_page_bytes <=
              EBB_IMAGE_AREA_END);

constexpr unsigned vector_nmi = 2;
constexpr unsigned vector_breakpoint = 3;
constexpr unsigned vector_double_fault = 8;
constexpr unsigned vector_page_fault = 14;
constexpr unsigned exception_vectors = 32;
// Numbers of interrupt stacks (TSS.IST). The debugger's stubs have one of their own, because a
// breakpoint may be hit by code that runs on the trap stack.
constexpr unsigned fault_ist = 1;
constexpr unsigned debug_ist = 2;

static_assert(exception_vectors * EBB_TRAP_STUB_BYTES <= abi::page_bytes);
static_assert(EBB_DEBUG_STACK_GPA + EBB_MAX_VCPUS * EBB_DEBUG_STACK_BYTES <= EBB_VCPU_PAGE_GPA);

using namespace abi::page_entry; // NOLINT(google-build-using-namespace)
constexpr std::uint64_t table_bits = present | writable | user | accessed;
constexpr std::uint64_t leaf_bits = present | accessed | dirty;

template <typename T> T& object_at(std::span<std::byte> ram, std::uint64_t gpa) {
  assert(gpa % alignof(T) == 0 && sizeof(T) <= ram.size() && gpa <= ram.size() - sizeof(T));
  return *reinterpret_cast<T*>(ram.data() + gpa);
}

// Builds a four-level tree for the low 512 GiB out of pages from the page table area.
class PageTableBuilder {
 public:
  explicit PageTableBuilder(std::span<std::byte> ram) : ram_(ram) {
    root_ = allocate();
    object_at<Table>(ram_, root_)[0] = allocate() | table_bits;
  }

  // Maps [start, end), page aligned, with 4 KiB entries.
  void map_pages(abi::Gpa start, abi::Gpa end, std::uint64_t rights) {
    for (std::uint64_t gpa = start.value; gpa < end.value; gpa += abi::page_bytes) {
      entry(next(directory_entry(gpa)), gpa >> 12) = gpa | leaf_bits | rights;
    }
  }

  // Maps [start, end) with 2 MiB entries; start is 2 MiB aligned, end is rounded up.
  void map_large(abi::Gpa start, abi::Gpa end, std::uint64_t rights) {
    for (std::uint64_t gpa = start.value; gpa < end.value; gpa += abi::huge_page_bytes) {
      directory_entry(gpa) = gpa | leaf_bits | large | rights;
    }
  }

 private:
  using Table = std::array<std::uint64_t, per_table>;

  std::uint64_t allocate() {
    const std::uint64_t gpa = next_;
    next_ += abi::page_bytes;
    // 768 pages: enough for 512 GiB of directories and the few tables of the low area.
    assert(next_ <= EBB_PAGE_TABLE_END);
    return gpa;
  }
  std::uint64_t& entry(std::uint64_t table, std::uint64_t index) {
    return object_at<Table>(ram_, table)[index % per_table];
  }
  // The table below an entry, made when absent.
  std::uint64_t next(std::uint64_t& parent) {
    if ((parent & present) == 0) {
      parent = allocate() | table_bits;
    }
    return parent & address_mask;
  }
  std::uint64_t& directory_entry(std::uint64_t gpa) {
    const std::uint64_t pointers = entry(root_, gpa >> 39) & address_mask;
    return entry(next(entry(pointers, gpa >> 30)), gpa >> 21);
  }

  std::span<std::byte> ram_;
  std::uint64_t next_ = EBB_PAGE_TABLE_GPA;
  std::uint64_t root_ = 0;
};

// Segment descriptor bits (SDM vol. 3, 3.4.5): accessed is preset because the GDT is read-only.
constexpr std::uint64_t descriptor_code = 0x00209b0000000000; // present, code, readable, long
constexpr std::uint64_t descriptor_data = 0x0000930000000000; // present, data, writable
constexpr std::uint64_t descriptor_dpl3 = 0x0000600000000000;
constexpr std::uint64_t descriptor_tss_busy = 0x00008b0000000000;

// 64-bit task state segment (SDM vol. 3, 8.7) and the I/O bitmap behind it: zero bits open ports to
// CPL3, whatever lies beyond the segment's limit stays closed. IOPL stays 0, so that a stray cli or
// sti faults on every host.
struct [[gnu::packed]] TaskState {
  std::uint32_t reserved0 = 0;
  std::uint64_t rsp[3] = {};
  std::uint64_t reserved1 = 0;
  std::uint64_t ist[7] = {};
  std::uint64_t reserved2 = 0;
  std::uint16_t reserved3 = 0;
  std::uint16_t io_map_offset = 0;
  std::uint8_t io_map[EBB_PORT_LIMIT / 8] = {};
  std::uint8_t io_map_end = 0xff; // the processor reads two bytes at a time
};
static_assert(offsetof(TaskState, rsp) == 4);
static_assert(offsetof(TaskState, ist) == 36);
static_assert(offsetof(TaskState, io_map) == 104);
static_assert(sizeof(TaskState) <= EBB_TSS_BYTES);
static_assert(EBB_TSS_GPA + EBB_MAX_VCPUS * EBB_TSS_BYTES <= EBB_BOOT_INFO_GPA);

constexpr std::uint64_t tss_gpa(unsigned index) {
  return EBB_TSS_GPA + std::uint64_t{index} * EBB_TSS_BYTES;
}

constexpr std::size_t gdt_entries = EBB_TSS_SELECTOR / 8 + 2 * EBB_MAX_VCPUS;

void write_gdt(std::span<std::byte> ram) {
  auto& gdt = object_at<std::array<std::uint64_t, gdt_entries>>(ram, EBB_GDT_GPA);
  gdt[EBB_KERNEL_CS / 8] = descriptor_code;
  gdt[EBB_KERNEL_SS / 8] = descriptor_data;
  gdt[EBB_USER_SS / 8] = descriptor_data | descriptor_dpl3;
  gdt[EBB_USER_CS / 8] = descriptor_code | descriptor_dpl3;
  for (unsigned index = 0; index < EBB_MAX_VCPUS; ++index) {
    const std::uint64_t base = tss_gpa(index); // below 2^24: the low descriptor suffices
    gdt[EBB_TSS_SELECTOR / 8 + 2 * index] =
        descriptor_tss_busy | (sizeof(TaskState) - 1) | (base << 16);
  }
}

// Interrupt gates (SDM vol. 3, 6.14.1). Only int3 may be raised by CPL3 software. A debugger sees
// exceptions first, but for those that end the guest on a stack of their own, and for page faults
// of programs, most of which are no mistakes.
void write_idt(std::span<std::byte> ram, const BootPlan& plan, std::uint64_t stubs_gpa) {
  struct Gate {
    std::uint64_t low, high;
  };
  constexpr std::uint64_t present_interrupt_gate = 0x8e0000000000;
  auto& idt = object_at<std::array<Gate, EBB_TRAP_VECTORS>>(ram, EBB_IDT_GPA);
  for (unsigned vector = 0; vector < EBB_TRAP_VECTORS; ++vector) {
    const bool own_stack = vector == vector_nmi || vector == vector_double_fault;
    const bool mended = vector == vector_page_fault && plan.program_gpa.value != 0;
    const bool debugged =
        !plan.debug_stubs.empty() && vector < exception_vectors && !own_stack && !mended;
    const std::uint64_t stub = (debugged ? std::uint64_t{EBB_DEBUG_CODE_GPA} : stubs_gpa) +
                               std::uint64_t{vector} * EBB_TRAP_STUB_BYTES;
    const std::uint64_t stack = own_stack ? fault_ist : debugged ? debug_ist : 0;
    idt[vector].low = (stub & 0xffff) | (std::uint64_t{EBB_KERNEL_CS} << 16) | (stack << 32) |
                      present_interrupt_gate | (vector == vector_breakpoint ? descriptor_dpl3 : 0) |
                      ((stub & 0xffff0000) << 32);
    idt[vector].high = stub >> 32;
  }
}

void write_tss(std::span<std::byte> ram, const BootPlan& plan, unsigned index) {
  TaskState tss;
  tss.rsp[0] = plan.stacks[index].trap_high.value;
  tss.ist[fault_ist - 1] = plan.stacks[index].fault_high.value;
  tss.ist[debug_ist - 1] = EBB_DEBUG_STACK_GPA + std::uint64_t{index + 1} * EBB_DEBUG_STACK_BYTES;
  tss.io_map_offset = offsetof(TaskState, io_map);
  if (plan.program_gpa.value != 0) {
    // A program is in the same ring: what is no hypercall is for it to fault on.
    std::memset(tss.io_map, 0xff, EBB_PORT_HYPERCALL / 8);
  }
  std::memcpy(ram.data() + tss_gpa(index), &tss, sizeof tss);
}

void write_page_tables(std::span<std::byte> ram, const BootPlan& plan,
                       const abi::ImageHeader& image) {
  PageTableBuilder tables(ram);
  const auto map = [&](std::uint64_t start, std::uint64_t bytes, std::uint64_t rights) {
    tables.map_pages({start}, {abi::align_up(start + bytes, abi::page_bytes)}, rights);
  };
  constexpr std::uint64_t user_data = user | writable | no_execute;
  // The processor reads the descriptor tables as supervisor; the guest's body cannot.
  map(EBB_GDT_GPA, EBB_BOOT_INFO_GPA - EBB_GDT_GPA, no_execute);
  map(EBB_BOOT_INFO_GPA, sizeof(abi::BootInfo), user | no_execute);
  map(EBB_STATUS_GPA, abi::page_bytes, user_data);
  if (!plan.debug_stubs.empty()) {
    map(EBB_DEBUG_CODE_GPA, abi::page_bytes, 0);
    map(EBB_DEBUG_STACK_GPA, std::uint64_t{plan.vcpus} * EBB_DEBUG_STACK_BYTES,
        writable | no_execute);
  }
  map(EBB_VCPU_PAGE_GPA, plan.vcpus * abi::page_bytes, user_data);
  map(EBB_CHANNEL_GPA, std::uint64_t{plan.vcpus} * EBB_CHANNEL_BYTES, user_data);
  map(EBB_EVENT_RING_GPA, plan.event_ring_bytes, user_data);
  for (const abi::ImageSegment& segment : image.segments) {
    const bool code = (segment.flags & abi::segment_execute) != 0;
    const bool data = (segment.flags & abi::segment_write) != 0;
    map(segment.gpa, segment.bytes,
        user | (code ? 0 : std::uint64_t{no_execute}) | (data ? std::uint64_t{writable} : 0));
  }
  for (unsigned index = 0; index < plan.vcpus; ++index) {
    const VcpuStacks& stacks = plan.stacks[index];
    tables.map_pages(stacks.stack_low, stacks.stack_high, user_data);
    map(stacks.trap_high.value - trap_stack_bytes, trap_stack_bytes, user_data);
    map(stacks.fault_high.value - fault_stack_bytes, fault_stack_bytes, user_data);
  }
  const abi::Gpa large_start{abi::align_up(plan.free_start.value, abi::huge_page_bytes)};
  tables.map_pages(plan.free_start, large_start, user_data);
  if (plan.hole.bytes() != 0) {
    tables.map_large(large_start, plan.hole.start, user_data);
    tables.map_large(plan.hole.end, plan.ram_end, user_data);
  } else {
    tables.map_large(large_start, plan.ram_end, user_data);
  }
  if (plan.program_gpa.value != 0) {
    tables.map_pages(plan.program_gpa, plan.own_start, user_data);
    // A program's code, and its reservations, need tables of the guest's making.
    tables.map_pages({EBB_PAGE_TABLE_GPA}, {EBB_PAGE_TABLE_END}, user_data);
  }
  const abi::Gpa own_large{abi::align_up(plan.own_start.value, abi::huge_page_bytes)};
  tables.map_pages(plan.own_start, own_large, user_data);
  tables.map_large(own_large, plan.own_end, user_data);
  if (plan.input_bytes != 0) {
    tables.map_large(plan.input_gpa, plan.input_gpa + plan.input_bytes, user | no_execute);
  }
}

kvm_segment segment(std::uint16_t selector, std::uint8_t type, bool code) {
  kvm_segment result{};
  result.selector = selector;
  result.limit = 0xffffffff;
  result.type = type;
  result.present = 1;
  result.dpl = selector & 3U;
  result.s = 1;
  result.g = 1;
  result.l = code ? 1 : 0;
  result.db = code ? 0 : 1;
  return result;
}

} // namespace

BootPlan BootPlan::make(const abi::ImageHeader& image, abi::Gpa ram_end, RamHole hole,
                        unsigned vcpus, std::uint64_t input_bytes) {
  assert(vcpus >= 1 && vcpus <= EBB_MAX_VCPUS && ram_end.value % abi::huge_page_bytes == 0);
  BootPlan plan;
  plan.ram_end = ram_end;
  plan.hole = hole;
  plan.vcpus = vcpus;
  std::uint64_t next = abi::align_up(image.load_gpa + image.memory_bytes, abi::page_bytes);
  const auto place_stack = [&](std::uint64_t bytes) {
    next += abi::page_bytes + bytes; // the guard page stays unmapped
    return abi::Gpa{next};
  };
  for (unsigned index = 0; index < vcpus; ++index) {
    VcpuStacks& stacks = plan.stacks[index];
    stacks.stack_high = place_stack(stack_bytes);
    stacks.stack_low = {stacks.stack_high.value - stack_bytes};
    stacks.trap_high = place_stack(trap_stack_bytes);
    stacks.fault_high = place_stack(fault_stack_bytes);
  }
  if (image.load_gpa == EBB_LOW_IMAGE_GPA) {
    plan.free_start = {next};
  } else {
    plan.free_start = {EBB_PAGE_TABLE_END};
    plan.own_low = {image.load_gpa};
    plan.own_start = {next};
    plan.own_end = {abi::align_up(next + own_bytes_for(ram_end), abi::huge_page_bytes)};
    assert(plan.own_end.value <= EBB_IMAGE_AREA_END);
  }
  if (input_bytes != 0) {
    constexpr std::uint64_t input_alignment = std::uint64_t{1} << 30;
    plan.input_gpa = {abi::align_up(ram_end.value, input_alignment)};
    plan.input_bytes = input_bytes;
  }
  return plan;
}

bool BootPlan::add_program(const abi::ImageHeader& image, std::uint64_t start_bytes) {
  if (image.version_minor < 2 || image.syscall_gpa == 0 || own_end == own_low) {
    return false;
  }
  const std::uint64_t bytes = abi::align_up(start_bytes, abi::page_bytes);
  program_gpa = own_start;
  own_start = own_start + bytes;
  own_end = {abi::align_up(own_end.value + bytes, abi::huge_page_bytes)};
  return own_end.value <= EBB_IMAGE_AREA_END;
}

void write_boot_tables(std::span<std::byte> low_ram, const BootPlan& plan,
                       const abi::ImageHeader& image) {
  write_gdt(low_ram);
  assert(plan.debug_stubs.size() <= abi::page_bytes);
  std::copy(plan.debug_stubs.begin(), plan.debug_stubs.end(), low_ram.begin() + EBB_DEBUG_CODE_GPA);
  write_idt(low_ram, plan, image.trap_stubs_gpa);
  for (unsigned index = 0; index < plan.vcpus; ++index) {
    write_tss(low_ram, plan, index);
  }
  write_page_tables(low_ram, plan, image);
}

kvm_regs boot_registers(const BootPlan& plan, const abi::ImageHeader& image, unsigned index) {
  constexpr std::uint64_t flags_always_set = 1U << 1;
  constexpr std::uint64_t flags_interrupts = 1U << 9;
  kvm_regs registers{};
  registers.rip = image.entry_gpa;
  // As after a call: the psABI wants RSP + 8 to be a multiple of 16 at a function's entry.
  registers.rsp = plan.stacks[index].stack_high.value - 8;
  registers.rdi = EBB_BOOT_INFO_GPA;
  registers.rsi = index;
  registers.rflags = flags_always_set | flags_interrupts;
  return registers;
}

TssType tss_type_here() {
  return is_emulated_by_qemu() ? TssType::available : TssType::busy;
}

kvm_sregs boot_system_registers(kvm_sregs initial, const BootPlan& plan, unsigned index,
                                TssType tss) {
  assert(index < plan.vcpus);
  constexpr std::uint64_t cr0_pe = 1U << 0;
  constexpr std::uint64_t cr0_mp = 1U << 1;
  constexpr std::uint64_t cr0_et = 1U << 4;
  constexpr std::uint64_t cr0_ne = 1U << 5;
  constexpr std::uint64_t cr0_wp = 1U << 16;
  constexpr std::uint64_t cr0_pg = std::uint64_t{1} << 31;
  constexpr std::uint64_t cr4_pae = 1U << 5;
  constexpr std::uint64_t cr4_osfxsr = 1U << 9;
  constexpr std::uint64_t cr4_osxmmexcpt = 1U << 10;
  constexpr std::uint64_t cr4_fsgsbase = 1U << 16;
  constexpr std::uint64_t cr4_osxsave = 1U << 18;
  constexpr std::uint64_t efer_sce = 1U << 0;
  constexpr std::uint64_t efer_lme = 1U << 8;
  constexpr std::uint64_t efer_lma = 1U << 10;
  constexpr std::uint64_t efer_nxe = 1U << 11;
  constexpr std::uint8_t type_code = 0xb; // execute, read, accessed
  constexpr std::uint8_t type_data = 0x3; // read, write, accessed

  kvm_sregs sregs = initial;
  sregs.cr0 = cr0_pe | cr0_mp | cr0_et | cr0_ne | cr0_wp | cr0_pg;
  sregs.cr3 = EBB_PAGE_TABLE_GPA;
  sregs.cr4 = cr4_pae | cr4_osfxsr | cr4_osxmmexcpt;
  sregs.efer = efer_lme | efer_lma | efer_nxe;
  if (plan.program_gpa.value != 0) {
    sregs.cr4 |= cr4_fsgsbase | cr4_osxsave;
    sregs.efer |= efer_sce;
  }
  sregs.cs = segment(EBB_USER_CS, type_code, true);
  sregs.ss = segment(EBB_USER_SS, type_data, false);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
  sregs.gs.base = EBB_VCPU_PAGE_GPA + std::uint64_t{index} * abi::page_bytes;
  sregs.gdt.base = EBB_GDT_GPA;
  sregs.gdt.limit = gdt_entries * sizeof(std::uint64_t) - 1;
  sregs.idt.base = EBB_IDT_GPA;
  sregs.idt.limit = EBB_TRAP_VECTORS * 16 - 1;
  sregs.tr = {};
  sregs.tr.base = tss_gpa(index);
  sregs.tr.limit = sizeof(TaskState) - 1;
  sregs.tr.selector = static_cast<std::uint16_t>(EBB_TSS_SELECTOR + 16 * index);
  sregs.tr.type = static_cast<std::uint8_t>(tss);
  sregs.tr.present = 1;
  return sregs;
}

} // namespace vmm
