// SPDX-License-Identifier: MIT
// The guest status page at EBB_STATUS_GPA: counters the guest writes and the host samples. Every
// field has one writer at a time and is read with relaxed loads; the host believes none of it for
// its own safety, it only shows it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"
#include "shared/latency_histogram.hpp"
#include "shared/layout.h"

namespace abi {

// Written by its own vCPU only. Blocks may be freed by another vCPU than allocated them, so only
// the sums over all vCPUs mean something.
struct alignas(64) VcpuCounters {
  std::uint64_t allocated_frames = 0; // handed out by the page allocator since boot
  std::uint64_t freed_frames = 0;     // given back to it since boot
  std::uint64_t verified_pages = 0;   // pages whose content the workload checked
  std::uint64_t events = 0;           // workload events done
  // Since 1.1.
  std::uint64_t moved_frames = 0;      // of movable blocks that were moved to empty an area
  std::uint64_t zero_asked_frames = 0; // allocated by callers that asked for zeroes
  std::uint64_t zero_known_frames = 0; // of these, known to be zero already
  // Since 1.2.
  std::uint64_t spun_ns = 0; // time in loops that waited for another vCPU without sleeping
};
static_assert(offsetof(VcpuCounters, moved_frames) == 32);
static_assert(offsetof(VcpuCounters, spun_ns) == 56);
static_assert(sizeof(VcpuCounters) == 64);

inline constexpr std::uint64_t half_life_never = ~std::uint64_t{0};

struct GuestStatus {
  // Written under the page allocator's lock.
  std::uint64_t fresh_bytes = 0;    // free, never answered since their last allocation
  std::uint64_t reported_bytes = 0; // free and answered (discarded or declined)
  std::uint64_t isolated_bytes = 0; // submitted, not yet answered
  std::uint64_t cached_bytes = 0;   // free, in per-vCPU page caches when each was last looked at
  std::uint64_t frontier_gpa = 0;   // RAM from here to its end was never handed out
  std::uint64_t hinted_batches = 0;
  std::uint64_t hinted_ranges = 0;   // without spans
  std::uint64_t hinted_bytes = 0;    // without spans
  std::uint64_t redundant_bytes = 0; // hinted though not allocated since the last answer
  std::uint64_t reused_bytes = 0;    // reported memory that was allocated again
  std::uint64_t oom_waits = 0;       // allocations that waited for answers
  // Since 1.1.
  std::uint64_t quarantined_bytes = 0;   // isolated, and the answer is overdue
  std::uint64_t late_answers = 0;        // that released a quarantine
  std::uint64_t ignored_answers = 0;     // duplicates and others that fit nothing in flight
  std::uint64_t oom_failures = 0;        // allocations that failed with ranges still in flight
  std::uint64_t max_in_flight_bytes = 0; // high-water mark of isolated_bytes
  // Written by the workload.
  alignas(64) std::uint64_t events_total = 0; // 0 when not known
  // Since 1.2. How far behind a schedule of its own, such as a recording's, the workload was at
  // most; 1 when it was always on time. 0: it has none, or does not tell. Any vCPU may raise it.
  std::uint64_t behind_ns = 0;
  std::uint64_t reserved2[6] = {};
  VcpuCounters vcpu[EBB_MAX_VCPUS];
  // Since 1.1. Written under the page allocator's lock.
  LatencyHistogram answer_latency; // from submission to the guest's taking in of the answer
  LatencyHistogram oom_wait;       // of allocations that waited for answers
  // Of free memory, with the strategy decay; with adaptive, the one that counts most, or
  // half_life_never; else 0.
  std::uint64_t half_life_ns = 0;
  std::uint64_t report_order = 0; // smallest that is hinted
  // The most that was ever allocated at a time, in all but the last few pages of each vCPU. Any
  // vCPU may raise it. 0: this guest does not tell.
  std::uint64_t live_high_bytes = 0;
  std::uint64_t reserved3[5] = {};
};
inline constexpr std::uint32_t guest_status_bytes_1_0 = 192 + 64 * EBB_MAX_VCPUS;
static_assert(offsetof(GuestStatus, frontier_gpa) == 32);
static_assert(offsetof(GuestStatus, hinted_batches) == 40);
static_assert(offsetof(GuestStatus, redundant_bytes) == 64);
static_assert(offsetof(GuestStatus, oom_waits) == 80);
static_assert(offsetof(GuestStatus, events_total) == 128);
static_assert(offsetof(GuestStatus, behind_ns) == 136);
static_assert(offsetof(GuestStatus, vcpu) == 192);
static_assert(offsetof(GuestStatus, quarantined_bytes) == 88);
static_assert(offsetof(GuestStatus, max_in_flight_bytes) == 120);
static_assert(offsetof(GuestStatus, answer_latency) == guest_status_bytes_1_0);
static_assert(offsetof(GuestStatus, half_life_ns) ==
              guest_status_bytes_1_0 + 2 * sizeof(LatencyHistogram));
static_assert(sizeof(GuestStatus) == offsetof(GuestStatus, half_life_ns) + 64);
static_assert(sizeof(GuestStatus) <= page_bytes);

} // namespace abi
