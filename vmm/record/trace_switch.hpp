// SPDX-License-Identifier: MIT
// Starts, stops and rotates the trace of a running guest, for clients of the control socket and for
// a debugger. A trace's file is either handed over, open, or was named before the run
// (--trace FILE, --trace-start off): a vmm that runs opens nothing.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/record/trace_loss.hpp"
#include "vmm/record/trace_recorder.hpp"
#include "vmm/record/trace_target.hpp"

namespace vmm {

// A trace in the making, or one that is done.
struct TraceState {
  std::string name; // as it was called by who started it
  TraceLoss records;
  std::uint64_t guest_events_lost = 0; // of one that is done
};

class TraceSwitch {
 public:
  // Whether somebody else relies on the trace that is recorded.
  enum class Held : std::uint8_t { no, by_stepper };

  // `recorder` outlives it and has begun if `name`, of --trace, is given without `own`. `own`: what
  // is to be recorded when somebody asks for it without handing a file over.
  TraceSwitch(TraceRecorder& recorder, std::optional<std::string> name,
              std::optional<TraceTarget> own, Held held);

  // Any thread; one at a time. Nothing changes when they fail. `name` is for messages.
  // User error when something is recorded already, or `file` is nothing that a trace can go to.
  [[nodiscard]] Result<TraceState> start(UniqueFd file, std::string_view name);
  // The trace so far is complete, and what comes next goes to `file`. Returns what is done.
  [[nodiscard]] Result<TraceState> rotate(UniqueFd file, std::string_view name);
  [[nodiscard]] Result<TraceState> stop();
  // Empty: nothing is recorded.
  [[nodiscard]] std::optional<TraceState> state();

  // Of what is recorded, or was last; for messages at the end. Not while others call the above.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  // These run on the recorder's thread.
  [[nodiscard]] Result<void> go_on(TraceTarget target, TraceRecorder::Recorded& before);
  [[nodiscard]] Result<void> go_on(UniqueFd file, const std::string& what,
                                   TraceRecorder::Recorded& before);
  [[nodiscard]] TraceTarget take_own();
  [[nodiscard]] static TraceState finish(std::string name, TraceRecorder::Recorded recorded);

  [[nodiscard]] Result<void> check(std::string_view request) const;
  template <typename Work> [[nodiscard]] Result<void> on_thread(Work work);

  TraceRecorder& recorder_;
  const Held held_;
  std::mutex mutex_; // guards the rest
  std::optional<TraceTarget> own_;
  std::string own_name_;
  std::string name_;
  bool recording_ = false;
};

} // namespace vmm
