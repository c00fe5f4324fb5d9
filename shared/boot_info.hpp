// SPDX-License-Identifier: MIT
// What host and guest tell each other once, before the first hint: boot info (host to guest) and
// hello (guest to host).
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"
#include "shared/doorbell.hpp"
#include "shared/layout.h"

namespace abi {

inline constexpr std::uint64_t boot_info_magic = 0x31544f4f42424245; // "EBBBOOT1"
inline constexpr std::uint64_t hello_magic = 0x314f4c4548424245;     // "EBBHELO1"

// When free memory is reported.
enum class ReportStrategy : std::uint32_t {
  batch = 0, // from the free path: when a batch is full, or partly full and the vCPU idles
  each = 1,  // a doorbell for every free block, as s390x does; no page caches in front
  scan = 2,  // a periodic pass over the free lists, as Linux's page reporting does
  decay = 3, // as batch, but what is free is let go by halves: delay_ns is the half-life
  // As decay, with a half-life that the guest learns. delay_ns is the break-even time: what is
  // hinted and wanted back has paid if it was away for that long.
  adaptive = 4,
};

// Reporting policy, settable by the user of the vmm.
struct ReportPolicy {
  std::uint32_t enabled = 1; // 0: nothing is ever hinted
  std::uint32_t order = 9;   // smallest order of a block that is reported, 0...max_order
  std::uint32_t batch = 256; // ranges that make a full batch, 1...max_batch_ranges
  ReportStrategy strategy = ReportStrategy::batch; // since 1.1
  std::uint64_t keep_bytes = 0;                    // keep-warm reserve: free bytes never reported
  // How long an idle vCPU lets a partial batch wait; decay: the half-life; adaptive:
  // the break-even time.
  std::uint64_t delay_ns = 0;
};
static_assert(sizeof(ReportPolicy) == 32);
static_assert(offsetof(ReportPolicy, order) == 4);
static_assert(offsetof(ReportPolicy, batch) == 8);
static_assert(offsetof(ReportPolicy, strategy) == 12);
static_assert(offsetof(ReportPolicy, keep_bytes) == 16);
static_assert(offsetof(ReportPolicy, delay_ns) == 24);

inline constexpr std::size_t boot_args_bytes = 2048;

// Since 1.1: the policy as the host wants it now. The host makes `generation` odd, changes the
// rest, and makes it even again; the guest looks at `generation` where it looks at time anyway
// (slow paths, idle), copies, and takes the copy if the generation was even and did not change.
struct ReportControl {
  std::uint64_t generation = 0;
  ReportPolicy policy;
  // An answer that takes longer puts its batch into quarantine; 0: never times out.
  std::uint64_t timeout_ns = 0;
};
static_assert(sizeof(ReportControl) == 48);
static_assert(offsetof(ReportControl, policy) == 8);
static_assert(offsetof(ReportControl, timeout_ns) == 40);

// At EBB_BOOT_INFO_GPA; the guest may only read it.
struct BootInfo {
  std::uint64_t magic = boot_info_magic;
  std::uint16_t version_major = 0;
  std::uint16_t version_minor = 0;
  std::uint32_t struct_bytes = 0;     // sizeof(BootInfo) of the host
  std::uint64_t features_offered = 0; // Feature bits
  std::uint64_t ram_bytes = 0;        // guest RAM is [0, ram_bytes), without the hole
  std::uint64_t free_start_gpa = 0;   // RAM below is reserved; page aligned
  std::uint64_t plugged_end_gpa = 0;  // RAM below is mapped now; with feature_plug there is more
  std::uint64_t plug_bytes = 0;       // unit of the plug hypercall
  std::uint64_t input_gpa = 0;        // read-only input of the workload; 0 when there is none
  std::uint64_t input_bytes = 0;
  std::uint64_t seed = 0; // for the workload's random numbers
  std::uint64_t reserved1 = 0;
  std::uint32_t tsc_khz = 0;
  std::uint32_t vcpus = 0;
  ReportPolicy report;
  std::uint32_t args_bytes = 0;       // bytes of args in use
  Doorbell doorbell = Doorbell::port; // since 1.1, with feature_vmcall; any other value: port
  char args[boot_args_bytes] = {};    // "key=value" strings, each ended by NUL
  // Since 1.1; a host of 1.0 has struct_bytes == boot_info_bytes_1_0.
  ReportControl control;            // with feature_retune; else its timeout_ns alone counts
  std::uint64_t hole_start_gpa = 0; // [hole_start_gpa, hole_end_gpa) is not RAM, though ram_bytes
  std::uint64_t hole_end_gpa = 0;   // counts it: the end of RAM is ram_bytes. Both 0: no hole
  std::uint32_t wake_vector = 0;    // with feature_interrupt
  std::uint32_t trace_level = 0;    // with feature_trace: TraceLevel
  std::uint32_t prefault_order = 0; // with feature_prefault: smallest order worth a call
  std::uint32_t reserved2 = 0;
  // Since 1.2: memory for the guest's own data behind an image that lies outside RAM,
  // [own_start_gpa, own_end_gpa): no RAM, never hinted, used when it is first touched. Page
  // aligned; both 0: none.
  std::uint64_t own_start_gpa = 0;
  std::uint64_t own_end_gpa = 0;
  std::uint64_t program_gpa = 0; // since 1.2, with feature_files: ProgramStart
  // Since 1.2: the root of the guest's page tables, if the guest may change them; 0: it may not.
  std::uint64_t page_table_gpa = 0;
};
// What hosts of each version write of it, never today's size: a later field must not turn an older
// host into one that is older still.
inline constexpr std::uint32_t boot_info_bytes_1_0 = 136 + boot_args_bytes;
inline constexpr std::uint32_t boot_info_bytes_1_1 = boot_info_bytes_1_0 + 80;
inline constexpr std::uint32_t boot_info_bytes_1_2 = boot_info_bytes_1_1 + 32;
static_assert(offsetof(BootInfo, version_major) == 8);
static_assert(offsetof(BootInfo, struct_bytes) == 12);
static_assert(offsetof(BootInfo, features_offered) == 16);
static_assert(offsetof(BootInfo, ram_bytes) == 24);
static_assert(offsetof(BootInfo, free_start_gpa) == 32);
static_assert(offsetof(BootInfo, plugged_end_gpa) == 40);
static_assert(offsetof(BootInfo, plug_bytes) == 48);
static_assert(offsetof(BootInfo, input_gpa) == 56);
static_assert(offsetof(BootInfo, input_bytes) == 64);
static_assert(offsetof(BootInfo, seed) == 72);
static_assert(offsetof(BootInfo, tsc_khz) == 88);
static_assert(offsetof(BootInfo, vcpus) == 92);
static_assert(offsetof(BootInfo, report) == 96);
static_assert(offsetof(BootInfo, args_bytes) == 128);
static_assert(offsetof(BootInfo, doorbell) == 132);
static_assert(offsetof(BootInfo, args) == 136);
static_assert(offsetof(BootInfo, control) == boot_info_bytes_1_0);
static_assert(offsetof(BootInfo, hole_start_gpa) == boot_info_bytes_1_0 + 48);
static_assert(offsetof(BootInfo, hole_end_gpa) == boot_info_bytes_1_0 + 56);
static_assert(offsetof(BootInfo, wake_vector) == boot_info_bytes_1_0 + 64);
static_assert(offsetof(BootInfo, trace_level) == boot_info_bytes_1_0 + 68);
static_assert(offsetof(BootInfo, prefault_order) == boot_info_bytes_1_0 + 72);
static_assert(offsetof(BootInfo, own_start_gpa) == boot_info_bytes_1_1);
static_assert(offsetof(BootInfo, own_end_gpa) == boot_info_bytes_1_1 + 8);
static_assert(offsetof(BootInfo, program_gpa) == boot_info_bytes_1_1 + 16);
static_assert(offsetof(BootInfo, page_table_gpa) == boot_info_bytes_1_1 + 24);
static_assert(sizeof(BootInfo) >= boot_info_bytes_1_2);
static_assert(sizeof(BootInfo) <= page_bytes);

// Bytes of boot info that a host of this version writes.
constexpr std::uint32_t boot_info_bytes(std::uint16_t minor) {
  switch (minor) {
  case 0:
    return boot_info_bytes_1_0;
  case 1:
    return boot_info_bytes_1_1;
  case 2:
    return boot_info_bytes_1_2;
  default:
    return sizeof(BootInfo);
  }
}

// Whether the host wrote the part that came with 1.1.
constexpr bool knows_1_1(const BootInfo& info) {
  return info.struct_bytes >= boot_info_bytes_1_1;
}
// And with 1.2.
constexpr bool knows_1_2(const BootInfo& info) {
  return info.struct_bytes >= boot_info_bytes_1_2;
}

// Argument of the negotiate hypercall, in the payload of the vCPU page.
struct GuestHello {
  std::uint64_t magic = hello_magic;
  std::uint16_t version_major = 0;
  std::uint16_t version_minor = 0;
  std::uint32_t struct_bytes = 0;      // sizeof(GuestHello) of the guest
  std::uint64_t features_accepted = 0; // subset of BootInfo::features_offered
  std::uint32_t channel_bytes = 0;     // sizeof(Channel)
  std::uint32_t status_bytes = 0;      // sizeof(GuestStatus)
  std::uint64_t managed_start_gpa = 0; // hints below are answered as failed
  std::uint64_t tags_gpa = 0;          // frame tags (shared/frame_tag.hpp) of the managed RAM
  std::uint64_t tags_first_pfn = 0;    // frame that tags_gpa describes
};
static_assert(offsetof(GuestHello, version_major) == 8);
static_assert(offsetof(GuestHello, struct_bytes) == 12);
static_assert(offsetof(GuestHello, features_accepted) == 16);
static_assert(offsetof(GuestHello, channel_bytes) == 24);
static_assert(offsetof(GuestHello, status_bytes) == 28);
static_assert(offsetof(GuestHello, managed_start_gpa) == 32);
static_assert(offsetof(GuestHello, tags_gpa) == 40);
static_assert(offsetof(GuestHello, tags_first_pfn) == 48);

// What guests of each version say, never today's size: see above.
inline constexpr std::uint32_t hello_bytes_1_0 = 56;
inline constexpr std::uint32_t hello_bytes_1_1 = 56;
static_assert(sizeof(GuestHello) >= hello_bytes_1_1);

} // namespace abi
