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
#include <shared_mutex>
#include <string>

#include "shared/hypercall.hpp"
#include "shared/trace_record.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/refault_watch.hpp"
#include "vmm/record/guest_events.hpp"
#include "vmm/record/trace_thread.hpp"
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
  bool guest_writes = false; // was asked for events, whether or not they are recorded
};

class TraceRecorder final : public HintObserver, public FrameWatcher {
 public:
  // A trace of the whole run. `memory` outlives the recorder. User error when there is no room for
  // the trace. Nothing is written yet.
  static Result<std::unique_ptr<TraceRecorder>> create(TraceTarget target, const TraceRun& run,
                                                       const GuestMemory& memory);
  // Nothing is recorded until there is something to write to: exchange().
  static std::unique_ptr<TraceRecorder> create_idle(const TraceRun& run, const GuestMemory& memory);
  ~TraceRecorder() override;

  // The target becomes this run's trace. Before anything is recorded; once. Error when it cannot.
  [[nodiscard]] Result<void> begin();
  // Not while exchange() may be called.
  [[nodiscard]] bool has_begun() const { return writer_ != nullptr && writer_->has_begun(); }

  // --- While the guest runs, on the recorder's thread ---------------------------------------
  // For a trace that begins now.
  [[nodiscard]] abi::TraceHeader header_now();
  struct Recorded {
    std::unique_ptr<TraceWriter> writer; // to be finished; null: nothing was recorded
    std::uint64_t guest_events_lost = 0;
  };
  // From now on records go to `next`, which has begun; null: nowhere. Every record goes to what it
  // went to before or to the next.
  [[nodiscard]] Recorded exchange(std::unique_ptr<TraceWriter> next);
  // Null: nothing is recorded.
  [[nodiscard]] const TraceWriter* recording() const { return writer_.get(); }

  // Does `work` on the recorder's thread. Any other. False: it does not run.
  [[nodiscard]] bool run(const std::function<void()>& work) { return thread_.run(work); }

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

  // What is recorded at the end, if anything is. After stop().
  [[nodiscard]] TraceLoss loss() const { return writer_->loss(); }
  [[nodiscard]] std::uint64_t guest_events_lost() const { return guest_lost_; }
  // Of a recording that is never exchanged; lives as long as the recorder.
  [[nodiscard]] const TraceWriter& writer() const { return *writer_; }

 private:
  TraceRecorder(std::unique_ptr<TraceWriter> writer, const TraceRun& run,
                const GuestMemory& memory);

  [[nodiscard]] bool at_least(abi::TraceLevel level) const { return run_.level >= level; }
  [[nodiscard]] bool muted() const { return muted_.load(std::memory_order_relaxed); }
  [[nodiscard]] TraceThread::Next take_turn();
  void append(const abi::TraceRecord& record);
  // What holds from here on, and is told again at the beginning of a later trace.
  void append_kept(std::optional<abi::TraceRecord>& kept, const abi::TraceRecord& record);
  void forget_refaults(const Batch& batch);
  void drain_guest();
  void drain_guest_locked();
  [[nodiscard]] static std::uint64_t now(const TraceWriter& writer);
  static void put(TraceWriter& writer, abi::TraceRecord record);

  TraceRun run_; // the policy in it: the latest
  const GuestMemory& memory_;
  std::optional<RefaultWatch> refaults_; // of level all

  std::atomic<bool> muted_{false};
  // Null exactly when writer_ is; saves waiting for it.
  std::atomic<bool> records_{false};
  std::shared_mutex writer_mutex_; // exclusive: writer_ becomes another
  std::unique_ptr<TraceWriter> writer_;
  std::uint32_t part_ = 0;           // of the run, that writer_ is or the next will be
  std::uint64_t records_before_ = 0; // in the part before

  std::mutex guest_mutex_; // before writer_mutex_; guards the rest, and run_.policy
  std::optional<abi::TraceRecord> negotiated_, mode_;
  std::optional<GuestEvents> guest_; // after negotiation
  std::optional<std::int64_t>
      tsc_offset_; // guest's counter minus the host's; after its first event
  std::uint64_t guest_lost_ = 0;

  TraceThread thread_; // last: it uses the others
};

} // namespace vmm
