// SPDX-License-Identifier: MIT
#include "vmm/boot/boot_state.hpp"

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "shared/boot_info.hpp"
#include "shared/hypercall.hpp"
#include "shared/report_channel.hpp"

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

abi::ImageHeader sample_image() {
  abi::ImageHeader image;
  image.load_gpa = EBB_LOW_IMAGE_GPA;
  image.entry_gpa = EBB_LOW_IMAGE_GPA + 0x1234;
  image.memory_bytes = 0x5000;
  image.trap_stubs_gpa = EBB_LOW_IMAGE_GPA + 0x1000;
  image.segments[0] = {EBB_LOW_IMAGE_GPA, 0x1000, 0, 0};
  image.segments[1] = {EBB_LOW_IMAGE_GPA + 0x1000, 0x2000, abi::segment_execute, 0};
  image.segments[2] = {EBB_LOW_IMAGE_GPA + 0x3000, 0x2000, abi::segment_write, 0};
  return image;
}

// The tables as the processor would walk them.
class Walker {
 public:
  Walker(std::uint64_t ram_bytes, unsigned vcpus, std::uint64_t input_bytes = 0,
         vmm::RamHole hole = {}, std::span<const std::byte> debug_stubs = {})
      : plan_(vmm::BootPlan::make(sample_image(), {ram_bytes}, hole, vcpus, input_bytes)),
        ram_(plan_.free_start.value) {
    plan_.debug_stubs = debug_stubs;
    vmm::write_boot_tables(ram_, plan_, sample_image());
  }

  Walker(const vmm::BootPlan& plan, const abi::ImageHeader& image)
      : plan_(plan), ram_(plan.free_start.value) {
    vmm::write_boot_tables(ram_, plan_, image);
  }

  struct Mapping {
    std::uint64_t gpa = 0;
    bool writable = true, user = true, executable = true, large = false;
  };

  // Rights accumulate over the levels (SDM vol. 3, 4.6).
  [[nodiscard]] std::optional<Mapping> walk(std::uint64_t address) const {
    Mapping mapping;
    std::uint64_t table = EBB_PAGE_TABLE_GPA;
    for (const unsigned shift : {39U, 30U, 21U, 12U}) {
      const std::uint64_t entry = word(table + ((address >> shift) & 511) * 8);
      if ((entry & 1) == 0) {
        return std::nullopt;
      }
      mapping.writable = mapping.writable && (entry & 2) != 0;
      mapping.user = mapping.user && (entry & 4) != 0;
      mapping.executable = mapping.executable && (entry >> 63) == 0;
      table = entry & 0x000ffffffffff000;
      if (shift == 12 || (shift == 21 && (entry & 0x80) != 0)) {
        mapping.large = shift == 21;
        mapping.gpa = table + (address & ((std::uint64_t{1} << shift) - 1));
        return mapping;
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] std::uint64_t word(std::uint64_t gpa) const {
    std::uint64_t value = 0;
    REQUIRE(gpa + sizeof value <= ram_.size());
    std::memcpy(&value, ram_.data() + gpa, sizeof value);
    return value;
  }
  [[nodiscard]] const vmm::BootPlan& plan() const { return plan_; }

 private:
  vmm::BootPlan plan_;
  std::vector<std::byte> ram_;
};

} // namespace

TEST_CASE("boot state: everything mapped is mapped one to one, and never writable and executable") {
  const Walker walker(64 << 20, 3, 5 << 20);
  for (std::uint64_t address = 0; address < (std::uint64_t{96} << 20); address += 4096) {
    if (const auto mapping = walker.walk(address)) {
      REQUIRE(mapping->gpa == address);
      REQUIRE_FALSE((mapping->writable && mapping->executable));
    }
  }
}

TEST_CASE("boot state: each part of the low area has exactly its rights") {
  const Walker walker(64 << 20, 2);
  const auto rights = [&](std::uint64_t address) -> std::string {
    const auto mapping = walker.walk(address);
    if (!mapping) {
      return "-";
    }
    return std::string(mapping->user ? "u" : "s") + (mapping->writable ? "w" : "r") +
           (mapping->executable ? "x" : "");
  };
  CHECK(rights(0) == "-");
  CHECK(rights(EBB_GDT_GPA) == "sr");
  CHECK(rights(EBB_IDT_GPA) == "sr");
  CHECK(rights(EBB_TSS_GPA) == "sr");
  CHECK(rights(EBB_BOOT_INFO_GPA) == "ur");
  CHECK(rights(EBB_STATUS_GPA) == "uw");
  CHECK(rights(EBB_VCPU_PAGE_GPA) == "uw");
  CHECK(rights(EBB_VCPU_PAGE_GPA + 0x1000) == "uw");
  CHECK(rights(EBB_VCPU_PAGE_GPA + 0x2000) == "-"); // there is no third vCPU
  CHECK(rights(EBB_CHANNEL_GPA) == "uw");
  CHECK(rights(EBB_CHANNEL_GPA + 2 * EBB_CHANNEL_BYTES - 1) == "uw");
  CHECK(rights(EBB_CHANNEL_GPA + 2 * EBB_CHANNEL_BYTES) == "-");
  CHECK(rights(EBB_PAGE_TABLE_GPA) == "-");
  CHECK(rights(EBB_PAGE_TABLE_END - 1) == "-");
  CHECK(rights(EBB_LOW_IMAGE_GPA) == "ur");
  CHECK(rights(EBB_LOW_IMAGE_GPA + 0x1000) == "urx");
  CHECK(rights(EBB_LOW_IMAGE_GPA + 0x2fff) == "urx");
  CHECK(rights(EBB_LOW_IMAGE_GPA + 0x3000) == "uw");
  for (unsigned index = 0; index < 2; ++index) {
    const vmm::VcpuStacks& stacks = walker.plan().stacks[index];
    CHECK(rights(stacks.stack_low.value - 1) == "-");
    CHECK(rights(stacks.stack_low.value) == "uw");
    CHECK(rights(stacks.stack_high.value - 1) == "uw");
    CHECK(rights(stacks.stack_high.value) == "-");
    CHECK(rights(stacks.trap_high.value - 1) == "uw");
    CHECK(rights(stacks.trap_high.value) == "-");
    CHECK(rights(stacks.fault_high.value - 1) == "uw");
  }
  CHECK(rights(walker.plan().free_start.value) == "uw");
}

TEST_CASE("boot state: page tables are a program's guest's to change, and no RAM is code") {
  abi::ImageHeader image = sample_image();
  image.load_gpa = EBB_IMAGE_GPA;
  image.entry_gpa = EBB_IMAGE_GPA + 0x1234;
  image.version_minor = 2;
  image.syscall_gpa = EBB_IMAGE_GPA + 0x1100;
  for (abi::ImageSegment& segment : image.segments) {
    segment.gpa = segment.bytes == 0 ? 0 : segment.gpa - EBB_LOW_IMAGE_GPA + EBB_IMAGE_GPA;
  }
  vmm::BootPlan plan = vmm::BootPlan::make(image, {gib}, {}, 1, 0);
  REQUIRE(plan.add_program(image, 4096));
  const Walker walker(plan, image);
  for (const std::uint64_t gpa :
       {std::uint64_t{EBB_PAGE_TABLE_GPA}, EBB_PAGE_TABLE_END - std::uint64_t{1},
        plan.free_start.value, gib - 1}) {
    CAPTURE(gpa);
    const auto mapping = walker.walk(gpa);
    REQUIRE(mapping.has_value());
    CHECK(mapping->gpa == gpa);
    CHECK(mapping->user);
    CHECK(mapping->writable);
    CHECK_FALSE(mapping->executable);
  }
}

TEST_CASE("boot state: RAM above the low area has 2 MiB entries up to its very end") {
  for (const std::uint64_t ram :
       {std::uint64_t{16} << 20, gib, 3 * gib + (std::uint64_t{2} << 20), 64 * gib, 256 * gib}) {
    CAPTURE(ram);
    const Walker walker(ram, 16);
    const auto last = walker.walk(ram - 1);
    REQUIRE(last.has_value());
    CHECK(last->gpa == ram - 1);
    CHECK(last->large);
    CHECK_FALSE(walker.walk(ram).has_value());
  }
}

TEST_CASE("boot state: the hole is not mapped, RAM above it is") {
  const Walker walker(6 * gib, 1, 0, vmm::interrupt_hole);
  CHECK(walker.walk(3 * gib - 1).has_value());
  CHECK_FALSE(walker.walk(3 * gib).has_value());
  CHECK_FALSE(walker.walk(0xfee00000).has_value());
  CHECK_FALSE(walker.walk(4 * gib - 1).has_value());
  CHECK(walker.walk(4 * gib).has_value());
  CHECK(walker.walk(6 * gib - 1).has_value());
}

TEST_CASE("boot state: input is read-only, above RAM, on huge-page ground") {
  const std::uint64_t bytes = (std::uint64_t{3} << 20) + 4096;
  const Walker walker(gib + (std::uint64_t{2} << 20), 1, bytes);
  const std::uint64_t input = walker.plan().input_gpa.value;
  CHECK(input == 2 * gib);
  const auto mapping = walker.walk(input + bytes - 1);
  REQUIRE(mapping.has_value());
  CHECK(mapping->user);
  CHECK_FALSE(mapping->writable);
  CHECK_FALSE(mapping->executable);
}

TEST_CASE("boot state: stacks of all vCPUs are apart from each other and from the image") {
  const Walker walker(64 << 20, 16);
  std::uint64_t previous = EBB_LOW_IMAGE_GPA + sample_image().memory_bytes;
  for (const vmm::VcpuStacks& stacks : walker.plan().stacks) {
    CHECK(stacks.stack_low.value >= previous + 4096);
    CHECK(stacks.stack_high.value % 4096 == 0);
    CHECK(stacks.trap_high > stacks.stack_high);
    CHECK(stacks.fault_high > stacks.trap_high);
    previous = stacks.fault_high.value;
  }
  CHECK(walker.plan().free_start.value == previous);
}

TEST_CASE("boot state: only int3 can be raised by CPL3, and gates lead to the stubs") {
  const Walker walker(64 << 20, 1);
  for (unsigned vector = 0; vector < EBB_TRAP_VECTORS; ++vector) {
    const std::uint64_t low = walker.word(EBB_IDT_GPA + vector * 16);
    const std::uint64_t high = walker.word(EBB_IDT_GPA + vector * 16 + 8);
    const std::uint64_t target = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (high << 32);
    CHECK(target == EBB_LOW_IMAGE_GPA + 0x1000 + vector * EBB_TRAP_STUB_BYTES);
    CHECK(((low >> 16) & 0xffff) == EBB_KERNEL_CS);
    CHECK(((low >> 45) & 3) == (vector == 3 ? 3 : 0));                // DPL
    CHECK(((low >> 32) & 7) == (vector == 2 || vector == 8 ? 1 : 0)); // IST
    CHECK(((low >> 40) & 0xf) == 0xe);                                // interrupt gate
  }
}

TEST_CASE("boot state: registers start a vCPU at CPL3 as if its entry had been called") {
  const Walker walker(64 << 20, 2);
  const kvm_regs regs = vmm::boot_registers(walker.plan(), sample_image(), 1);
  CHECK(regs.rip == sample_image().entry_gpa);
  CHECK((regs.rsp + 8) % 16 == 0);
  CHECK(regs.rsp < walker.plan().stacks[1].stack_high.value);
  CHECK(regs.rdi == EBB_BOOT_INFO_GPA);
  CHECK(regs.rsi == 1);
  CHECK((regs.rflags & 0x3000) == 0); // IOPL 0
  const kvm_sregs sregs = vmm::boot_system_registers({}, walker.plan(), 1);
  CHECK((sregs.cs.selector & 3) == 3);
  CHECK(sregs.cs.dpl == 3);
  CHECK(sregs.cs.l == 1);
  CHECK((sregs.ss.selector & 3) == 3);
  CHECK(sregs.gs.base == EBB_VCPU_PAGE_GPA + 0x1000);
  CHECK(sregs.tr.base == EBB_TSS_GPA + EBB_TSS_BYTES);
  CHECK(sregs.tr.type == 0xb); // busy: VMX wants it
  CHECK(vmm::boot_system_registers({}, walker.plan(), 1, vmm::TssType::available).tr.type == 0x9);
  // The GDT's descriptor of this TSS agrees with TR.
  const std::uint64_t descriptor = walker.word(EBB_GDT_GPA + sregs.tr.selector);
  CHECK(((descriptor >> 16) & 0xffffff) == sregs.tr.base);
  CHECK((descriptor & 0xffff) == sregs.tr.limit);
  CHECK(walker.word(EBB_TSS_GPA + EBB_TSS_BYTES + 4) == walker.plan().stacks[1].trap_high.value);
}

TEST_CASE("boot state: a debugger's stubs stand before the guest's, out of the guest's reach") {
  const std::vector<std::byte> stubs(32 * EBB_TRAP_STUB_BYTES, std::byte{0x5a});
  const Walker walker(64 << 20, EBB_MAX_VCPUS, 0, {}, stubs);
  CHECK(walker.word(EBB_DEBUG_CODE_GPA) == 0x5a5a5a5a5a5a5a5a);
  for (const std::uint64_t address :
       {std::uint64_t{EBB_DEBUG_CODE_GPA}, std::uint64_t{EBB_DEBUG_STACK_GPA}}) {
    const auto mapping = walker.walk(address);
    REQUIRE(mapping);
    CHECK_FALSE(mapping->user);
    CHECK(mapping->executable == (address == EBB_DEBUG_CODE_GPA));
    CHECK(mapping->writable == (address == EBB_DEBUG_STACK_GPA));
  }
  for (unsigned vector = 0; vector < EBB_TRAP_VECTORS; ++vector) {
    CAPTURE(vector);
    const std::uint64_t low = walker.word(EBB_IDT_GPA + vector * 16);
    const std::uint64_t stub = (low & 0xffff) | (low >> 32 & 0xffff0000);
    const bool to_debugger = vector < 32 && vector != 2 && vector != 8;
    CHECK(stub == (to_debugger ? EBB_DEBUG_CODE_GPA : sample_image().trap_stubs_gpa) +
                      vector * EBB_TRAP_STUB_BYTES);
    CHECK((low >> 32 & 7) == (vector == 2 || vector == 8 ? 1 : to_debugger ? 2 : 0));
    CHECK((low >> 45 & 3) == (vector == 3 ? 3 : 0));
  }
  // Each vCPU has a stack of its own, below the next one's; 36 is TSS.IST1.
  for (unsigned vcpu = 0; vcpu < EBB_MAX_VCPUS; ++vcpu) {
    CHECK(walker.word(EBB_TSS_GPA + vcpu * EBB_TSS_BYTES + 36 + 8) ==
          EBB_DEBUG_STACK_GPA + (vcpu + 1) * EBB_DEBUG_STACK_BYTES);
  }
}

TEST_CASE("boot state: without a debugger there is nothing of it") {
  const Walker walker(64 << 20, 2);
  CHECK_FALSE(walker.walk(EBB_DEBUG_CODE_GPA));
  CHECK_FALSE(walker.walk(EBB_DEBUG_STACK_GPA));
}
