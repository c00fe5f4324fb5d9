// SPDX-License-Identifier: MIT
// Text that comes from the guest, or describes its end.
#include <algorithm>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include "vmm/base/printable.hpp"
#include "vmm/vcpu/crash_report.hpp"
#include "vmm/vcpu/guest_end.hpp"

TEST_CASE("printable: text passes, terminal control does not") {
  CHECK(vmm::printable("plain\ttext\n") == "plain\ttext\n");
  CHECK(vmm::printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(vmm::printable("\x1b[2J") == "?[2J");
  CHECK(vmm::printable("\r\b\x7f") == "???");
  CHECK(vmm::printable(std::string_view("\0x", 2)) == "?x");
  CHECK(vmm::printable("\xc2\x9b"
                       "2J") == "??2J"); // CSI as a C1 control
  CHECK(vmm::printable("\xc2\xa0") == "\xc2\xa0");
  CHECK(vmm::printable("x\xc2") == "x?"); // a second text could make it one
}

TEST_CASE("panic: a record of a hostile guest is printed within its bounds") {
  abi::PanicRecord record;
  record.vector = abi::panic_by_software;
  record.frame_count = ~std::uint64_t{0};
  std::memset(record.message, 'A', sizeof record.message); // no end
  record.message[0] = '\x1b';
  const std::string text = vmm::describe_panic(record, {});
  CHECK(text.starts_with("?AAA"));
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(std::ranges::count(text, '\n') == static_cast<long>(abi::panic_frames));
}

TEST_CASE("panic: a page fault names address and code") {
  abi::PanicRecord record;
  record.vector = 14;
  record.error_code = 6;
  record.fault_address = 0xdead000;
  record.rip = 0x401000;
  std::strcpy(record.message, "page fault");
  CHECK(vmm::describe_panic(record, {}) ==
        "page fault (vector 14, error code 0x6, address 0xdead000)\n  at 0x401000 rsp 0x0");
}

TEST_CASE("exits: unknown ones are given by number") {
  kvm_run run{};
  run.exit_reason = 12345;
  CHECK(vmm::describe_exit(run) == "unknown exit reason 12345");
  run.exit_reason = KVM_EXIT_MMIO;
  run.mmio.phys_addr = 0xfee00000;
  run.mmio.len = 4;
  run.mmio.is_write = 1;
  CHECK(vmm::describe_exit(run) ==
        "access to unmapped guest-physical address 0xfee00000, 4 byte write");
  run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run.internal.suberror = 1;
  run.internal.ndata = 0xffffffff; // more than there is room for
  CHECK(vmm::describe_exit(run).find("cannot emulate") != std::string::npos);
}

TEST_CASE("guest end: the first ending wins and gives the process's status") {
  auto end = vmm::GuestEnd::create();
  REQUIRE(end.has_value());
  CHECK_FALSE((*end)->ended());
  (*end)->end({vmm::EndKind::exited, 7, {}});
  (*end)->end({vmm::EndKind::crashed, 0, "late"});
  CHECK((*end)->ended());
  CHECK((*end)->ending().process_status() == 7);
  CHECK(vmm::GuestEnding{vmm::EndKind::panicked, 0, {}}.process_status() == 3);
  CHECK(vmm::GuestEnding{vmm::EndKind::crashed, 0, {}}.process_status() == 3);
  CHECK(vmm::GuestEnding{vmm::EndKind::host_failed, 0, {}}.process_status() == 4);
  CHECK(vmm::GuestEnding{vmm::EndKind::interrupted, 2, {}}.process_status() == 130);
}
