// SPDX-License-Identifier: MIT
// What a run measured, and its form as JSON. Names and units are part of the interface: fields are
// added, never renamed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shared/boot_info.hpp"
#include "vmm/base/json.hpp"
#include "vmm/base/result.hpp"
#include "vmm/hints/fault_counters.hpp"
#include "vmm/hints/hint_port.hpp"
#include "vmm/hints/oracle.hpp"
#include "vmm/measure/footprint.hpp"
#include "vmm/measure/latency.hpp"
#include "vmm/measure/ledger.hpp"
#include "vmm/measure/memory_series.hpp"
#include "vmm/settings/host_mode.hpp"
#include "vmm/settings/report_changes.hpp"

namespace vmm {

struct RunStats {
  struct Guest {
    int exit_status = 0;
    std::optional<double> boot_us; // first KVM_RUN to workload start; empty: never started
  } guest;

  struct Workload {
    std::string name;
    double seconds = 0;     // of the measured interval
    double cpu_seconds = 0; // of the vmm in it, guest time included
    std::uint64_t events = 0;
    std::uint64_t verified_pages = 0;
    // At most behind the schedule that it kept, a recording's; empty: it kept none.
    std::optional<double> behind_ms{};
  } workload;

  // Of the guest's allocator, by its own account.
  struct Allocator {
    std::uint64_t moved_bytes = 0;          // of blocks moved to empty an area
    std::uint64_t spun_us = 0;              // vCPUs spun for each other so long, before they slept
    std::uint64_t zero_asked_bytes = 0;     // allocated by callers that asked for zeroes
    std::uint64_t memset_skipped_bytes = 0; // of these, known to be zero already
  } allocator;

  std::uint32_t vcpus = 1;

  abi::ReportPolicy report;
  std::uint64_t report_timeout_ns = 0;
  bool report_automatic = false; // then `report` is what was in force at the end
  // Of free memory; 0: the strategy has none, empty: nothing is let go.
  std::optional<std::uint64_t> report_half_life_ns = 0;
  std::uint64_t report_order_in_force = 0; // at the end, by the guest's word
  ReportChanges report_changes;            // of the policy, while the guest ran
  std::uint64_t first_run_ns = 0;          // monotonic clock: when the guest began to run

  struct Host {
    HostMode mode = HostMode::sync; // that was in force, not the one asked for
    std::uint32_t workers = 0;      // 0 in mode sync
    std::uint64_t protocol_errors = 0;
    std::uint64_t worker_sleeps = 0;
    std::uint64_t discard_calls = 0;
    std::uint64_t discard_retries = 0;  // of these: again, after EINTR or EAGAIN
    std::uint64_t partial_discards = 0; // calls that did only a part
    std::uint64_t failed_discards = 0;  // hints declined because the host's call failed
    std::uint64_t worker_naps = 0;      // after many doorbells for nothing
  } host;

  struct Channel {
    std::uint64_t batches = 0;
    std::uint64_t ranges = 0;
    std::uint64_t bytes = 0;
    // Rings that reached the host: exits of a synchronous host, wake-ups of a worker of others,
    // for which several rings may be one.
    std::uint64_t doorbells = 0;
    std::uint64_t doorbells_suppressed = 0;
    std::uint64_t interrupts = 0;
    std::uint64_t max_batches = 0;         // in the host's hands at one time
    std::optional<LatencySummary> latency; // from taking a batch to its answer
  };
  std::vector<Channel> channels;
  // Of all channels.
  [[nodiscard]] std::uint64_t doorbells() const;

  // As the guest sees it.
  struct InFlight {
    std::uint64_t max_bytes = 0;
    std::optional<LatencySummary> latency; // from submission to the taking in of the answer
  } inflight;

  struct OutOfMemory {
    std::uint64_t waits = 0;            // allocations that waited for answers
    std::uint64_t false_ones = 0;       // allocations that failed with ranges in flight
    std::optional<LatencySummary> wait; // of these waits
  } oom;

  struct Quarantine {
    std::uint64_t bytes = 0; // at the end
    std::uint64_t late_answers = 0;
    std::uint64_t ignored_answers = 0;
  } quarantine;

  std::uint64_t wakeups = 0; // interrupts raised for answers
  std::uint64_t doorbells_suppressed = 0;

  FaultCounters faults; // injected
  std::uint64_t late_discards = 0;

  std::optional<OracleTotals> oracle; // empty: not asked for

  struct Trace {
    std::uint64_t records = 0; // in the file
    std::uint64_t lost_records = 0;
    std::uint64_t lost_guest_events = 0;
    std::string why; // records were lost; empty: none were

    [[nodiscard]] bool complete() const { return why.empty() && lost_guest_events == 0; }
  };
  std::optional<Trace> trace; // empty: none was asked for

  struct Hints {
    std::uint64_t batches = 0;
    std::uint64_t ranges = 0;
    std::uint64_t bytes = 0;
    std::uint64_t discarded_bytes = 0;
    std::uint64_t declined_bytes = 0;
    std::uint64_t failed_ranges = 0;
    std::uint64_t redundant_bytes = 0;
    std::uint64_t host_ns = 0; // time in discards
  } hints;

  struct Exits {
    std::uint64_t total = 0;
    std::uint64_t doorbells = 0; // of these, rings: not those that an eventfd took
    std::uint64_t vmcalls = 0;   // of these, by a hypercall instruction
  } exits;

  struct Prefaults {
    std::uint64_t calls = 0;
    std::uint64_t bytes = 0;
  } prefaults;

  struct Memory {
    std::uint64_t guest_bytes = 0;
    std::string backing;
    // Resident memory: empty where it was not measured.
    std::optional<std::uint64_t> rss_peak_bytes;
    std::optional<std::uint64_t> rss_final_bytes;
    std::optional<std::uint64_t> live_peak_bytes;
    std::optional<double> settle_ms; // empty: nothing was freed, or the workload did not end
    std::optional<double> rss_mib_s;
    std::optional<double> live_mib_s;
    // What would have been resident, had nothing been given back: empty where the kernel does not
    // tell which pages were resident.
    std::optional<double> unreported_mib_s;
    std::string missing{};          // why integrals or peaks are; empty: they are there
    std::uint64_t minor_faults = 0; // of the vmm, in the measured interval
    // Measurements of resident memory that failed, in whose place the last value stands, and what
    // the last of them said.
    std::uint64_t failed_samples = 0;
    std::string last_failure{};

    // Resident over live memory; empty when nothing was live or resident memory is not known.
    [[nodiscard]] std::optional<double> footprint_ratio() const;
    // The same for the model without reporting.
    [[nodiscard]] std::optional<double> unreported_ratio() const;
  } memory;

  std::optional<Ledger> ledger; // empty: nothing to balance, or nobody asked
  MemorySeries series;

  // Takes over the measured time, and of peaks and integrals what can be believed.
  void take(const FootprintIntegral& footprint);
};

// What was not measured is null.
Json to_json(const RunStats& stats);

// As it goes into a file: indented, ends in a newline.
std::string to_text(const Json& json);

} // namespace vmm
