// SPDX-License-Identifier: MIT
// Everything that looks at a run without taking part in it: samples of memory, what became of
// discarded memory, the oracle, the hypercall trace. It is made before what it watches acts, and
// the others tell it what happens.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "shared/hypercall.hpp"
#include "vmm/base/result.hpp"
#include "vmm/guest_machine.hpp"
#include "vmm/hints/hint_observers.hpp"
#include "vmm/hints/oracle.hpp"
#include "vmm/measure/discard_moments.hpp"
#include "vmm/measure/ever_resident.hpp"
#include "vmm/measure/ledger.hpp"
#include "vmm/measure/reuse_watch.hpp"
#include "vmm/measure/run_times.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/resident_meter.hpp"
#include "vmm/record/trace_recorder.hpp"
#include "vmm/record/trace_switch.hpp"
#include "vmm/sandbox/sandbox.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

class Watch {
 public:
  using SampleShown = std::function<void(const MemorySample&)>;

  // `guest` and `end` outlive the watch. `trace` is where a recording goes; without one a stepper's
  // is kept in memory. `shown` gets each sample, on the sampler's thread; may be empty. User error
  // when there is no room for the trace.
  static Result<std::unique_ptr<Watch>> create(const Config& config, const GuestMachine& guest,
                                               GuestEnd& end, std::optional<UnitCosts> unit_costs,
                                               std::optional<TraceTarget> trace, SampleShown shown);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // --- A run, in this order -----------------------------------------------------------------
  // The trace's file becomes this run's. Before threads are started, and before rights are given
  // up.
  [[nodiscard]] Result<void> begin_trace();
  // Starts the threads, and says how many. The sampler's waits until vCPU 0 may run: it shows
  // nothing of a guest that does not run yet.
  [[nodiscard]] Result<unsigned> start(Sandbox& sandbox, const VcpuThreads& vcpus);
  void on_first_run();
  // The guest's hello was accepted. User error when the oracle cannot work with it.
  [[nodiscard]] Result<void> on_hello(const abi::GuestHello& hello);
  void on_workload_begin();
  // Waits until residency is stable.
  void on_workload_end(std::uint64_t since_last_free_ns);
  // The vCPUs have ended: if the workload did not, the measured interval does now. The oracle keeps
  // nothing out of reach any more.
  void stop_sampling();
  // Nobody records any more.
  void stop_trace(const GuestEnding& ending);

  // --- Whom the others tell -----------------------------------------------------------------
  [[nodiscard]] HintObserver& hint_observer() { return observers_; }
  [[nodiscard]] TraceRecorder* trace() { return trace_.get(); } // null: nothing is ever recorded
  [[nodiscard]] TraceSwitch* trace_switch() { return switch_.get(); } // with trace()
  [[nodiscard]] Sampler& sampler() { return sampler_; }
  [[nodiscard]] const Oracle* oracle() const { return oracle_.get(); } // null: nobody asked

  // --- What was measured --------------------------------------------------------------------
  [[nodiscard]] const TraceRecorder* trace() const { return trace_.get(); }
  [[nodiscard]] const TraceSwitch* trace_switch() const { return switch_.get(); }
  [[nodiscard]] const Sampler& sampler() const { return sampler_; }
  [[nodiscard]] bool measures_resident() const { return meter_ != nullptr; }
  [[nodiscard]] RunTimes times() const;
  [[nodiscard]] const std::optional<Settled>& settled() const { return settled_; }
  [[nodiscard]] std::optional<OracleTotals> oracle_totals() const;
  // What became of discarded memory, and the CPU time spent on discarding; empty where the kernel
  // does not tell or nobody wants to know.
  [[nodiscard]] std::optional<OrderUses> order_uses() const;
  [[nodiscard]] std::optional<std::uint64_t> discard_cpu_ns() const;
  // Measured before the guest was made; empty unless config.keeps_ledger().
  [[nodiscard]] const std::optional<UnitCosts>& unit_costs() const { return unit_costs_; }
  // What 1 MiB for 1 s is worth: may be told anew at any time.
  [[nodiscard]] std::atomic<std::uint64_t>& memory_price_ns() { return memory_price_ns_; }
  [[nodiscard]] std::uint64_t memory_price_ns() const {
    return memory_price_ns_.load(std::memory_order_relaxed);
  }

 private:
  Watch(const Config& config, const GuestMachine& guest, GuestEnd& end,
        std::optional<UnitCosts> unit_costs, std::unique_ptr<TraceRecorder> trace,
        std::unique_ptr<TraceSwitch> trace_switch, SampleShown shown);
  [[nodiscard]] SamplerSources sources(const GuestMachine& guest, SampleShown shown);
  void subscribe();

  const std::optional<UnitCosts> unit_costs_;
  std::atomic<std::uint64_t> memory_price_ns_;
  const std::unique_ptr<TraceRecorder> trace_;        // null: nothing is ever recorded
  const std::unique_ptr<TraceSwitch> switch_;         // with trace_
  const std::unique_ptr<Oracle> oracle_;              // null: nobody asked
  const std::unique_ptr<FrameScan> scan_;             // null where the kernel has none
  const std::unique_ptr<ResidentMeter> meter_;        // null where it cannot be measured
  const std::unique_ptr<EverResident> ever_resident_; // null where the kernel does not tell
  const std::unique_ptr<ReuseWatch> reuse_;           // null without a scan, and without need
  Sampler sampler_;
  DiscardMoments discard_moments_;
  HintObservers observers_;
  mutable std::mutex times_mutex_; // guards the next
  RunTimes times_;
  // Written by vCPU threads, read after they ended.
  std::optional<Settled> settled_;
};

} // namespace vmm
