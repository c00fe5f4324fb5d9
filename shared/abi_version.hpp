// SPDX-License-Identifier: MIT
// ABI version and feature bits. The bump policy and the change log are in shared/README.md.
#pragma once

#include <cstdint>

namespace abi {

// A different major is another protocol: the host refuses the image before it runs.
// A higher minor only adds; what it adds is announced by a feature bit.
inline constexpr std::uint16_t version_major = 1;
inline constexpr std::uint16_t version_minor = 2;

// Feature bits; bit 8 was never part of a version. The host offers a set in BootInfo, the guest
// answers with the subset it will use in GuestHello, and the host refuses a set that is not a
// subset of its own.
enum Feature : std::uint64_t {
  // Free ranges are hinted over the report channels.
  feature_report = 1U << 0,
  // A range answered as discarded reads as zero at its next touch.
  feature_zeroed = 1U << 1,
  // RAM above BootInfo::plugged_end_gpa is mapped by the plug hypercall before its first use.
  feature_plug = 1U << 2,
  // Since 1.1. The host may answer a batch after the doorbell has returned. Without it a doorbell
  // is answered before it returns.
  feature_async = 1U << 3,
  // Since 1.1. There is an in-kernel interrupt controller in x2APIC mode: an idle vCPU halts, and
  // the host raises BootInfo::wake_vector on it when the channel asked for it.
  feature_interrupt = 1U << 4,
  // Since 1.1. More than one vCPU: the others start at the entry point when vCPU 0 asks.
  feature_smp = 1U << 5,
  // Since 1.1. The policy may change while the guest runs: BootInfo::control.
  feature_retune = 1U << 6,
  // Since 1.1. The doorbell may be rung with the instruction that BootInfo::doorbell names.
  feature_vmcall = 1U << 7,
  // Since 1.1. The guest writes what happens to its memory into the ring at EBB_EVENT_RING_GPA, as
  // much of it as BootInfo::trace_level asks for.
  feature_trace = 1U << 9,
  // Since 1.1. The prefault hypercall has memory behind a block before the guest touches it; the
  // host wants it for blocks of BootInfo::prefault_order and above.
  feature_prefault = 1U << 10,
  // Since 1.2. The guest is to run the Linux program at BootInfo::program_gpa, and may ask for the
  // host's files (shared/file_call.hpp). RAM may be executed; SYSCALL, which enters at
  // ImageHeader::syscall_gpa, and the FSBASE instructions work.
  feature_files = 1U << 11,
  // Since 1.2, with feature_files. The program may have connections through the host
  // (shared/socket_call.hpp).
  feature_sockets = 1U << 12,
};

// All that a host of 1.0 offers.
inline constexpr std::uint64_t features_1_0 = feature_report | feature_zeroed | feature_plug;

} // namespace abi
