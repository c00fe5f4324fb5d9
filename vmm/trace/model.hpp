// SPDX-License-Identifier: MIT
// The protocol as a state machine over a trace: apply records in order, and it holds what was true
// at that moment, and objects to what the protocol forbids (shared/report_channel.hpp):
//
//   submit -> batch -> range... -> discard -> outcome... -> answer -> drain
//
//   - a block that is in flight is neither hinted again nor allocated,
//   - a block that was answered is not hinted again without an allocation between,
//   - no answer without a submission, none twice; no discard outside of [taken, answered],
//   - every range has an outcome, every batch an answer or a quarantine.
//
// A trace that begins in the middle of a run (TraceEvent::continued) is held to what it can know:
// what was in flight before is taken as it comes.
//
// A copy is a snapshot. Memory is bounded by guest memory and by what can be in flight, not by the
// length of the trace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/trace/frame_map.hpp"
#include "vmm/trace/open_batches.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

struct Violation {
  std::uint64_t number = 0; // of the record
  std::string text;
};

struct BatchState {
  enum class Stage : std::uint8_t { submitted, taken, discarding, discarded, answered, dropped };
  Stage stage = Stage::submitted;
  bool quarantined = false;
  bool unanswerable = false; // the host was told never to answer it
  std::uint32_t ranges = 0;  // as submitted
  std::uint32_t ranges_seen = 0;
  std::uint32_t outcomes_seen = 0;
  std::uint64_t submit_ns = 0; // or, where the guest's events are missing, when it was taken
  std::uint64_t code = 0;
  std::uint64_t bytes = 0;                    // of the hints seen
  std::uint64_t span_start = 0, span_end = 0; // of the latest span, while ranges come in
  std::uint64_t answer_number = 0;
};

// What the latest memory sample said.
struct MemoryView {
  std::uint64_t resident_bytes = 0, live_bytes = 0, fresh_bytes = 0, reported_bytes = 0;
  std::uint64_t isolated_bytes = 0, cached_bytes = 0;
};

class Model {
 public:
  explicit Model(const TraceSource& source);

  // The next record, or that record `number` is missing. Objections are appended to `violations`.
  void apply(const abi::TraceRecord& record, std::vector<Violation>& violations);
  void apply_missing(std::uint64_t number);
  // After the last record: what can be said only then.
  void finish(std::vector<Violation>& violations) const;

  [[nodiscard]] const FrameMap& frames() const { return frames_; }
  [[nodiscard]] const OpenBatches<BatchState>& batches() const { return batches_; }
  [[nodiscard]] const MemoryView& memory() const { return memory_; }
  // From its submission to the batch's answer, or drain, that the latest record is; else empty.
  [[nodiscard]] std::optional<std::uint64_t> latency_ns() const { return latency_ns_; }
  [[nodiscard]] bool ended() const { return end_number_ != 0; }
  // The guest's events are in the trace, from its start and none lost.
  [[nodiscard]] bool guest_complete() const { return guest_traced_ && !guest_lost_; }
  [[nodiscard]] std::uint64_t guest_lost() const { return guest_lost_; }

 private:
  struct Context; // record and where objections go

  // Everything that has happened in the run so far is known.
  [[nodiscard]] bool knows_past() const { return whole_history_ && guest_complete(); }

  void on_continued(const Context& context);
  void on_negotiated(const Context& context);
  void on_submit(const Context& context);
  void on_batch(const Context& context);
  void on_range(const Context& context);
  void on_discard(const Context& context);
  void on_outcome(const Context& context);
  void on_answer(const Context& context);
  void on_answer_dropped(const Context& context);
  void on_drain(const Context& context);
  void on_block(const Context& context);

  FrameMap frames_;
  OpenBatches<BatchState> batches_;
  MemoryView memory_;
  std::optional<std::uint64_t> latency_ns_;
  abi::TraceLevel level_;
  std::uint64_t first_number_;
  bool whole_history_;
  bool begins_midway_ = false;
  bool negotiated_ = false;
  bool guest_traced_ = false;
  std::uint64_t guest_lost_ = 0;
  std::uint64_t workload_end_number_ = 0;
  std::uint64_t end_number_ = 0;
  std::uint8_t end_kind_ = 0;
};

} // namespace hvtrace
