// SPDX-License-Identifier: MIT
// Attacks from ring 0 and with page tables of the guest's own, under which it may write and execute
// everything that is RAM.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"
#include "shared/boot_info.hpp"
#include "shared/layout.h"
#include "tests/hostile/wire.hpp"
#include "tests/hostile/witness.hpp"

using Ring0Routine = void();

// In ring0_stubs.S.
extern "C" void hostile_ring0(Ring0Routine* routine, std::uint64_t argument);
extern "C" Ring0Routine ring0_load_tables;
extern "C" Ring0Routine ring0_triple_fault;
extern "C" Ring0Routine ring0_spin;
extern "C" Ring0Routine ring0_halt;
extern "C" Ring0Routine ring0_vmcall;
extern "C" Ring0Routine ring0_jump;
extern "C" Ring0Routine ring0_paging_off;
extern "C" Ring0Routine ring0_input;
extern "C" Ring0Routine ring0_output_byte;
extern "C" Ring0Routine ring0_output_string;

namespace {

using hostile::Wire;
using hostile::Witness;

enum Rights : std::uint64_t { present = 1, writable = 2, user = 4 };

// Tables that map the first GiB, and the one that the image lies in, one to one with 4 KiB pages
// below 16 MiB, all of it open to CPL3.
class OwnTables {
 public:
  static constexpr std::uint64_t small_end = std::uint64_t{16} << 20;
  static constexpr std::uint64_t image_gib = std::uint64_t{EBB_IMAGE_GPA} >> 30;
  static constexpr std::uint64_t image_table = 3 + small_end / abi::huge_page_bytes;

  explicit OwnTables(guest::Env& env)
      : tables_(static_cast<Table*>(env.allocate_pages({4}))) { // 16 tables
    constexpr std::uint64_t all = present | writable | user;
    constexpr std::uint64_t large = 0x80;
    std::memset(tables_, 0, abi::Order{4}.bytes());
    tables_[0].entries[0] = address_of(1) | all;
    tables_[1].entries[0] = address_of(2) | all;
    tables_[1].entries[image_gib] = address_of(image_table) | all;
    for (std::uint64_t index = 0; index < 512; ++index) {
      const std::uint64_t gpa = index * abi::huge_page_bytes;
      tables_[2].entries[index] = gpa < small_end ? address_of(3 + index) | all : gpa | all | large;
      tables_[image_table].entries[index] = ((image_gib << 30) + gpa) | all | large;
    }
    for (std::uint64_t gpa = 0; gpa < small_end; gpa += abi::page_bytes) {
      set(gpa, all);
    }
  }

  // Rights of the page at `gpa`, below small_end; in force after the next load().
  void set(std::uint64_t gpa, std::uint64_t rights) {
    tables_[3 + gpa / abi::huge_page_bytes].entries[gpa / abi::page_bytes % 512] = gpa | rights;
  }
  void load() const { hostile_ring0(ring0_load_tables, address_of(0)); }

 private:
  struct Table {
    std::uint64_t entries[512];
  };
  [[nodiscard]] std::uint64_t address_of(std::uint64_t table) const {
    return guest::arch::address_of(&tables_[table]).value;
  }

  Table* tables_;
};

// Writable and executable now; its machine code is replaced below.
[[gnu::noinline, gnu::aligned(64)]] std::uint32_t patched() {
  std::uint64_t value = 1;
  guest::arch::keep(value);
  return static_cast<std::uint32_t>(value);
}

// The image changes its own code, again and again.
int self_modifying(guest::Env& env) {
  OwnTables tables(env);
  tables.load();
  auto* const code = reinterpret_cast<std::uint8_t*>(&patched);
  std::uint32_t (*volatile const call)() = &patched;
  for (std::uint32_t round = 0; round < 200; ++round) {
    code[0] = 0xb8; // mov eax, round; ret
    std::memcpy(code + 1, &round, sizeof round);
    code[5] = 0xc3;
    if (call() != round) {
      guest::print("stale code in round {}\n", round);
      return 1;
    }
  }
  Witness witness(env); // of the image as it is now
  Wire wire(env, 0);
  witness.testify(wire);
}

// Overwrites what the host has written for it: boot info, vCPU pages, the first page tables. The
// host must not read any of it back.
int overwritten_boot_data(guest::Env& env) {
  OwnTables tables(env);
  tables.load();
  std::memset(guest::arch::pointer_to<void>({EBB_PAGE_TABLE_GPA}), 0xff,
              EBB_PAGE_TABLE_END - EBB_PAGE_TABLE_GPA);
  auto& boot = *guest::arch::pointer_to<abi::BootInfo>({EBB_BOOT_INFO_GPA});
  boot.features_offered = ~std::uint64_t{0};
  boot.ram_bytes = ~std::uint64_t{0};
  boot.plugged_end_gpa = 0;
  boot.control.generation = ~std::uint64_t{0};
  for (unsigned vcpu = 0; vcpu < EBB_MAX_VCPUS; ++vcpu) {
    auto& page = *guest::arch::pointer_to<abi::VcpuPage>(
        {EBB_VCPU_PAGE_GPA + std::uint64_t{vcpu} * abi::page_bytes});
    page.stack_low_gpa = ~std::uint64_t{0};
    page.stack_high_gpa = 0;
    if (vcpu >= env.vcpus()) {
      std::memset(page.payload, 0xff, sizeof page.payload);
      page.self_gpa = ~std::uint64_t{0};
      page.vcpu = ~std::uint32_t{0};
    }
  }
  Witness witness(env);
  Wire wire(env, 0);
  witness.testify(wire);
}

// Rings where the guest itself cannot read or cannot write: the host's view is its own.
int rings_out_of_reach(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  OwnTables tables(env);
  const std::uint32_t head = wire.rings().complete_head;
  for (const std::uint64_t rights : {std::uint64_t{0}, std::uint64_t{present | user}}) {
    wire.describe(0, 0, abi::RangeDescriptor::make(witness.prey(), {0}, abi::RangeKind::hint));
    wire.rings().submissions[wire.rings().submit_tail % abi::ring_entries] = {7, 0, 1};
    std::atomic_ref(wire.rings().submit_tail).fetch_add(1, std::memory_order_seq_cst);
    for (std::uint64_t page = 0; page < EBB_CHANNEL_BYTES; page += abi::page_bytes) {
      tables.set(EBB_CHANNEL_GPA + page, rights);
    }
    tables.load();
    wire.ring();
    for (std::uint64_t page = 0; page < EBB_CHANNEL_BYTES; page += abi::page_bytes) {
      tables.set(EBB_CHANNEL_GPA + page, present | writable | user);
    }
    tables.load();
    witness.expect(wire.await_answer().outcome(0) == abi::Outcome::discarded, "not answered");
  }
  witness.expect(wire.rings().complete_head == head + 2, "answers were lost");
  witness.testify(wire);
}

template <Ring0Routine* Routine> int in_ring0(guest::Env& env) {
  guest::print("in ring 0\n");
  hostile_ring0(Routine, env.arg_number("value", 0));
  guest::print("came back\n");
  return 0;
}

int wild_jump(guest::Env& env) {
  reinterpret_cast<void (*)()>(env.arg_number("value", 0))();
  return 0;
}

// Beyond RAM there is nothing; an access there is an exit.
int beyond_ram(guest::Env& env) {
  OwnTables tables(env);
  tables.load();
  auto* const nowhere = guest::arch::pointer_to<volatile std::uint64_t>({env.ram_bytes()});
  *nowhere = 1;
  return 0;
}

} // namespace

namespace {
constexpr auto value = guest::Parameter::number("value", 0, ~std::uint64_t{0});
} // namespace

EBB_WORKLOAD(self_modifying, "change the image's code", self_modifying);
EBB_WORKLOAD(overwritten_boot_data, "overwrite what the host wrote", overwritten_boot_data);
EBB_WORKLOAD(rings_out_of_reach, "rings unmapped and read-only", rings_out_of_reach);
EBB_WORKLOAD(wild_jump, "jump to value= at CPL3", wild_jump, value);
EBB_WORKLOAD(beyond_ram, "write behind the end of RAM", beyond_ram);
EBB_WORKLOAD(triple_fault, "fault without a descriptor table", in_ring0<ring0_triple_fault>, value);
EBB_WORKLOAD(ring0_spin, "spin in ring 0", in_ring0<ring0_spin>, value);
EBB_WORKLOAD(ring0_halt, "halt with interrupts off", in_ring0<ring0_halt>, value);
EBB_WORKLOAD(ring0_vmcall, "hypercall number value= of KVM", in_ring0<ring0_vmcall>, value);
EBB_WORKLOAD(ring0_jump, "jump to value= in ring 0", in_ring0<ring0_jump>, value);
EBB_WORKLOAD(paging_off, "switch paging off", in_ring0<ring0_paging_off>, value);
EBB_WORKLOAD(port_input, "read port value=", in_ring0<ring0_input>, value);
EBB_WORKLOAD(port_byte, "write a byte to port value=", in_ring0<ring0_output_byte>, value);
EBB_WORKLOAD(port_string, "write a string to port value=", in_ring0<ring0_output_string>, value);
