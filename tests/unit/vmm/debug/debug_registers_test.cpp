// SPDX-License-Identifier: MIT
#include "vmm/debug/debug_registers.hpp"

#include <cstring>

#include <doctest/doctest.h>

#include "vmm/debug/gdb_registers.hpp"

using namespace vmm;

namespace {

KvmRegisters some_registers() {
  KvmRegisters registers;
  registers.general.rax = 1;
  registers.general.rbx = 2;
  registers.general.rsi = 5;
  registers.general.r15 = 16;
  registers.general.rip = 0x404460;
  registers.general.rflags = 0x246;
  registers.system.cs.selector = 0x23;
  registers.system.gs.base = 0x10000;
  registers.system.cr3 = 0x100000;
  registers.fpu.fcw = 0x37f;
  registers.fpu.ftwx = 0x81;
  registers.fpu.fpr[7][9] = 0x40;
  registers.fpu.xmm[15][15] = 0xee;
  registers.fpu.mxcsr = 0x1f80;
  return registers;
}

} // namespace

TEST_CASE("debug registers: KVM's in the debugger's order") {
  const DebugRegisters shown = to_debug(some_registers());
  CHECK(shown.general[0] == 1);
  CHECK(shown.general[1] == 2);
  CHECK(shown.general[4] == 5);
  CHECK(shown.general[15] == 16);
  CHECK(shown.rip == 0x404460);
  CHECK(shown.eflags == 0x246);
  CHECK(shown.segments[0] == 0x23);
  CHECK(shown.gs_base == 0x10000);
  CHECK(shown.control[2] == 0x100000);
  CHECK(shown.x87_control[2] == 0x3ffc); // two registers in use, the first and the last
  CHECK(shown.x87[7][9] == std::byte{0x40});
  CHECK(shown.xmm[15][15] == std::byte{0xee});
}

TEST_CASE("debug registers: what was not changed comes back as it was") {
  const KvmRegisters before = some_registers();
  KvmRegisters after = before;
  REQUIRE(apply(to_debug(before), after));
  CHECK(std::memcmp(&before, &after, sizeof before) == 0);
}

TEST_CASE("debug registers: changes arrive, but for those that must not") {
  KvmRegisters registers = some_registers();
  DebugRegisters wanted = to_debug(registers);
  wanted.general[7] = 0x7000;
  wanted.xmm[0][0] = std::byte{9};
  wanted.x87_control[2] = 0xfffc;
  wanted.fs_base = 0x5000;
  wanted.eflags = ~std::uint32_t{0};
  REQUIRE(apply(wanted, registers));
  CHECK(registers.general.rsp == 0x7000);
  CHECK(registers.fpu.xmm[0][0] == 9);
  CHECK(registers.fpu.ftwx == 1);
  CHECK(registers.system.fs.base == 0x5000);
  CHECK((registers.general.rflags & 0x100) == 0);     // not stepping by way of flags
  CHECK((registers.general.rflags & 0x200) == 0x200); // interrupts as they were
  CHECK((registers.general.rflags & 0x3000) == 0);    // IOPL, too
  CHECK((registers.general.rflags & 0xcd5) == 0xcd5);
  wanted = to_debug(registers);
  wanted.segments[0] = 0x10;
  CHECK_FALSE(apply(wanted, registers));
  wanted = to_debug(registers);
  wanted.control[2] = 0;
  wanted.rip = 5;
  CHECK_FALSE(apply(wanted, registers));
  CHECK(registers.general.rip == 0x404460);
}

TEST_CASE("debug registers: encoded and back") {
  const DebugRegisters registers = to_debug(some_registers());
  const auto data = gdb_encode(registers);
  const auto back = gdb_decode(data);
  REQUIRE(back);
  CHECK(*back == registers);
  CHECK_FALSE(gdb_decode(std::span(data).first(data.size() - 1)));
  std::size_t sum = 0;
  for (std::size_t number = 0; number < gdb_register_count(); ++number) {
    sum += gdb_register(registers, number).size();
  }
  CHECK(sum == data.size());
  CHECK(gdb_register(registers, gdb_register_count()).empty());
}

TEST_CASE("debug registers: the description names as many registers as there are") {
  const std::string& xml = gdb_target_xml();
  std::size_t count = 0;
  for (std::size_t at = xml.find("<reg "); at != std::string::npos;
       at = xml.find("<reg ", at + 1)) {
    ++count;
  }
  CHECK(count == gdb_register_count());
  // gdb finds these two by number if it must.
  CHECK(gdb_register({}, 16).size() == 8);
  CHECK(xml.find("org.gnu.gdb.i386.core") < xml.find("org.gnu.gdb.i386.sse"));
}
