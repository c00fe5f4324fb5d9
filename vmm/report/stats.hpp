// SPDX-License-Identifier: MIT
// What a run measured, and its form as JSON. Names and units are part of the interface: fields are
// added, never renamed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shared/guest_status.hpp"
#include "vmm/base/json.hpp"
#include "vmm/hints/hint_totals.hpp"
#include "vmm/hints/oracle.hpp"
#include "vmm/measure/footprint.hpp"
#include "vmm/measure/ledger.hpp"
#include "vmm/measure/memory_series.hpp"
#include "vmm/measure/run_times.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/record/trace_loss.hpp"
#include "vmm/report/program_calls.hpp"
#include "vmm/settings/host_mode.hpp"
#include "vmm/settings/report_changes.hpp"
#include "vmm/settings/report_settings.hpp"
#include "vmm/vcpu/exit_totals.hpp"

namespace vmm {

struct RunStats {
  int exit_status = 0;
  RunTimes times;
  std::string workload;                // its name, or a program's
  std::optional<ProgramCalls> program; // of a program; empty: a workload ran

  std::uint32_t vcpus = 1;
  HostMode host_mode = HostMode::sync; // that was in force, not the one asked for
  std::uint32_t workers = 0;           // 0 in mode sync
  HintTotals hints;
  ExitTotals exits;
  PrefaultTotals prefaults;

  ReportSettings report;        // with order=auto what was in force at the end
  ReportChanges report_changes; // of the policy, while the guest ran

  // Of --pressure; empty: it was off.
  struct Pressure {
    std::uint64_t times = 0;
    std::uint64_t ns = 0;
    bool now = false;
  };
  std::optional<Pressure> pressure;

  // The guest's own account, at the end: shown, never relied on.
  abi::GuestStatus guest;

  struct Memory {
    std::uint64_t guest_bytes = 0;
    std::string backing;
    double seconds = 0; // of the measured interval
    // Resident memory: empty where it was not measured.
    std::optional<std::uint64_t> rss_peak_bytes;
    std::optional<std::uint64_t> live_peak_bytes;
    std::optional<double> rss_mib_s;
    std::optional<double> live_mib_s;
    // What would have been resident, had nothing been given back: empty where the kernel does not
    // tell which pages were resident.
    std::optional<double> unreported_mib_s;
    std::string missing{}; // why integrals or peaks are; empty: they are there

    // Resident over live memory; empty when nothing was live or resident memory is not known.
    [[nodiscard]] std::optional<double> footprint_ratio() const;
    // The same for the model without reporting.
    [[nodiscard]] std::optional<double> unreported_ratio() const;

    // Takes over the measured time, and of peaks and integrals what can be believed.
    void take(const FootprintIntegral& footprint);
  } memory;
  MemorySample last;          // of all samples
  Settled settled;            // by the last sample, unless residency was watched to its end
  Sampler::Failures failures; // of measuring resident memory: the last value stands in
  MemorySeries series;
  std::optional<Ledger> ledger; // empty: nothing to balance, or nobody asked

  std::optional<OracleTotals> oracle; // empty: not asked for

  struct Trace {
    std::string name{}; // as who asked for it calls it
    TraceLoss records;
    std::uint64_t lost_guest_events = 0;

    [[nodiscard]] bool complete() const { return records.why.empty() && lost_guest_events == 0; }
  };
  std::optional<Trace> trace; // that was recorded at the end; empty: none

  // Of free memory, by the guest's word; 0: the strategy has none, empty: nothing is let go.
  [[nodiscard]] std::optional<std::uint64_t> half_life_ns() const;
  // At most behind the schedule that the workload kept, a recording's; empty: it kept none.
  [[nodiscard]] std::optional<std::uint64_t> behind_ns() const;
};

// What all vCPUs together tell of the guest's allocator.
struct AllocatorTotals {
  std::uint64_t moved_bytes = 0;          // of blocks moved to empty an area
  std::uint64_t spun_us = 0;              // vCPUs spun for each other so long, before they slept
  std::uint64_t zero_asked_bytes = 0;     // allocated by callers that asked for zeroes
  std::uint64_t memset_skipped_bytes = 0; // of these, known to be zero already

  static AllocatorTotals of(const abi::GuestStatus& guest);
};

// What was not measured is null.
Json to_json(const RunStats& stats);

// As it goes into a file: indented, ends in a newline.
std::string to_text(const Json& json);

} // namespace vmm
