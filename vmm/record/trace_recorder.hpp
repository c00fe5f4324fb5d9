// SPDX-License-Identifier: MIT
// Turns what happens to hints into trace records, as many as the level asks for.
//
// The order of records is what readers rely on: the guest's events are taken out of its ring after
// a batch was copied and before it is recorded, so a submission (and every allocation before it)
// stands before its batch; an answer is recorded before it is published, so before its drain.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "shared/hypercall.hpp"
#include "shared/trace_record.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/refault_watch.hpp"
#include "vmm/record/guest_events.hpp"
#include "vmm/record/trace_writer.hpp"
#include "vmm/settings/host_mode.hpp"
#include "vmm/settings/report_settings.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// What the header says of the run. Times and the event table are filled in by the recorder.
struct TraceRun {
  abi::TraceLevel level = abi::TraceLevel::batches;
  std::uint64_t ring_bytes = 0; // 0: a growing file
  std::uint32_t vcpus = 1;
  std::uint32_t tsc_khz = 0;
  abi::ReportPolicy policy{};
  DiscardMethod method = DiscardMethod::dontneed;
  std::string image{}; // its path, absolute: traces are read elsewhere
  std::uint64_t image_hash = 0;
  std::string host = "sync";
};

class TraceRecorder final : public HintObserver, public FrameWatcher {
 public:
  // `memory` outlives the recorder. User error when there is no room for the trace. Nothing is
  // written yet.
  static Result<std::unique_ptr<TraceRecorder>> create(TraceTarget target, const TraceRun& run,
                                                       const GuestMemory& memory);
  ~TraceRecorder() override;

  // The target becomes this run's trace. Before anything is recorded; once. Error when it cannot.
  [[nodiscard]] Result<void> begin() { return writer_->begin(); }
  [[nodiscard]] bool has_begun() const { return writer_->has_begun(); }

  // Starts and ends the recorder's thread. After stop() nothing may be recorded; the trace is
  // complete, its last record the end.
  [[nodiscard]] Result<void> start(ThreadStart on_start = {});
  void stop(const GuestEnding& ending);

  void boot();
  // The guest's hello was accepted. From now on its event ring is read, if it agreed to write it.
  void negotiated(const abi::GuestHello& hello);
  void workload_begin() { append({.event = abi::TraceEvent::workload_begin}); }
  void workload_end();
  void memory_sample(const MemorySample& sample);
  // Who answers from now on.
  void host_mode(HostMode mode, std::uint32_t workers);
  // What the guest was told of how to report.
  void policy(const ReportSettings& settings);
  void hypercall(unsigned vcpu, abi::Hypercall call, std::uint64_t argument);

  void on_doorbell(unsigned vcpu, std::uint32_t channel) override;
  void on_taken(const Batch& batch) override;
  void on_fault(const Batch& batch, abi::TraceFault fault) override;
  void on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                        const DiscardCounters& counters) override;
  void on_discard_end(const Batch& batch, unsigned lane, const DiscardCounters& counters) override;
  void on_settled(const Batch& batch) override;
  void on_answer(const Batch& batch) override;
  void on_answer_dropped(const Batch& batch) override;

  // Of level all: discarded memory that is back.
  bool pass_begins(std::uint64_t now_ns, Occasion occasion) override;
  void resident(abi::Gpa start, std::uint64_t bytes) override;
  void pass_ends(Ended /*how*/) override {}

  // Records what the guest has told of so far.
  void take_guest_events() { drain_guest(); }
  // Nothing is recorded from now on; the guest's events are taken out and thrown away.
  void mute() { muted_.store(true, std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t records() const { return writer_->records(); }
  // After stop().
  [[nodiscard]] TraceLoss loss() const { return writer_->loss(); }
  [[nodiscard]] std::uint64_t guest_events_lost() const { return guest_lost_; }
  // Lives as long as the recorder.
  [[nodiscard]] const TraceWriter& writer() const { return *writer_; }

 private:
  TraceRecorder(std::unique_ptr<TraceWriter> writer, const TraceRun& run, const GuestMemory& memory,
                std::uint64_t start_ns);

  [[nodiscard]] bool at_least(abi::TraceLevel level) const { return level_ >= level; }
  [[nodiscard]] std::uint64_t now() const;
  [[nodiscard]] bool muted() const { return muted_.load(std::memory_order_relaxed); }
  void append(abi::TraceRecord record);
  void drain_guest();

  const std::unique_ptr<TraceWriter> writer_;
  const GuestMemory& memory_;
  const abi::TraceLevel level_;
  const DiscardMethod method_;
  const std::uint32_t vcpus_;
  const std::uint32_t tsc_khz_;
  const std::uint64_t start_ns_;
  std::optional<RefaultWatch> refaults_; // of level all

  std::atomic<bool> muted_{false};

  std::mutex guest_mutex_;           // guards the next three
  std::optional<GuestEvents> guest_; // after negotiation
  std::optional<std::int64_t>
      tsc_offset_; // guest's counter minus the host's; after its first event
  std::uint64_t guest_lost_ = 0;
};

} // namespace vmm
