// SPDX-License-Identifier: MIT
// The reporting state machine: free pages become hints, answers become free pages again.
//
//   free -> merge -> isolate -> submit -> (host) -> answer -> put back
//
// One path serves synchronous and asynchronous hosts: a synchronous one has answered before the
// doorbell returns. Never allocates, never waits; the work of a call is bounded by one batch, or
// by one completion ring. A busy channel only means that blocks stay fresh and are reported later.
// The host's indices and entries are checked: an answer that does not fit what is in flight
// (repeated, late, unknown) is counted and ignored. What is never answered stays isolated.
//
// Not thread-safe: the `_locked` functions run under the lock that guards the Buddy too. The
// doorbell is rung by the caller, outside that lock.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>

#include "guest/mm/buddy.hpp"
#include "guest/mm/event_trace.hpp"
#include "shared/boot_info.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace guest::mm {

// How willing the caller is to send a batch that is not full.
enum class Urgency : std::uint8_t {
  busy, // a vCPU at work: full batches, and what is older than Reporter::busy_partial_age_ns
  idle, // a vCPU without work: also what is older than the policy's delay
  now,  // whatever is reportable
};

enum class SubmitResult : std::uint8_t {
  submitted,     // the host is watching, no doorbell wanted
  ring_doorbell, // submitted; ring after the lock is released
  busy,          // no free descriptor page or ring slot; nothing was isolated
  nothing,       // nothing reportable
};

// Since construction.
struct ReporterCounters {
  std::uint64_t batches = 0;
  std::uint64_t ranges = 0; // hints
  std::uint64_t spans = 0;
  std::uint64_t bytes = 0;            // hinted
  std::uint64_t discarded_ranges = 0; // answers to hints
  std::uint64_t declined_ranges = 0;
  std::uint64_t failed_ranges = 0;
  std::uint64_t busy = 0;            // submissions postponed
  std::uint64_t ignored_answers = 0; // completion entries that fit nothing in flight
  std::uint64_t max_in_flight_bytes = 0;
};

class Reporter {
 public:
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  // On a busy vCPU a partial batch waits this long; checked only where time is known anyway.
  static constexpr std::uint64_t busy_partial_age_ns = 1'000'000'000;
  // How soon an idle vCPU should look again at a busy channel.
  static constexpr std::uint64_t busy_retry_ns = 200'000;

  // One channel per vCPU, at most EBB_MAX_VCPUS, which outlive the reporter. Indices continue
  // where the rings stand, with nothing in flight. Sets the report order of `buddy`.
  Reporter(Buddy& buddy, std::span<abi::Channel* const> channels, const abi::ReportPolicy& policy,
           EventTrace* trace = nullptr);
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  // To be called after frees and submissions, with the current time: keeps the age of the oldest
  // reportable memory.
  void note_time_locked(std::uint64_t now_ns);

  // Whether submit_locked should be called.
  [[nodiscard]] bool due_locked(std::uint64_t now_ns, Urgency urgency) const;
  // Isolates up to one batch and submits it.
  [[nodiscard]] SubmitResult submit_locked(unsigned channel, std::uint64_t now_ns);
  // Takes in the answers that have arrived. Returns the number of batches answered.
  unsigned drain_locked(unsigned channel);
  unsigned drain_all_locked();

  // When what is reportable now will be due on an idle vCPU that uses `channel`; never if nothing.
  [[nodiscard]] std::uint64_t next_partial_deadline_ns(unsigned channel,
                                                       std::uint64_t now_ns) const;

  // Asks the host for an interrupt at the next answer. Returns false, and asks for none, when an
  // answer is there already: drain instead of sleeping.
  [[nodiscard]] bool arm_interrupt_locked(unsigned channel);
  void disarm_interrupt_locked(unsigned channel);

  [[nodiscard]] std::uint32_t in_flight_batches() const { return in_flight_batches_; }
  [[nodiscard]] std::uint64_t in_flight_bytes() const {
    return in_flight_frames_ * abi::page_bytes;
  }
  // Time of the latest submission; 0 before the first.
  [[nodiscard]] std::uint64_t last_submit_ns() const { return last_submit_ns_; }
  [[nodiscard]] const ReporterCounters& counters() const { return counters_; }
  [[nodiscard]] unsigned channel_count() const { return channel_count_; }

 private:
  // What is in flight on one descriptor page. Batch ids start at 1; 0 means a free page.
  struct InFlight {
    std::uint64_t batch_id = 0;
    std::uint32_t range_count = 0;
    std::uint64_t block_frames = 0;
  };
  struct ChannelState {
    abi::Channel* channel = nullptr;
    std::uint32_t submit_tail = 0;
    std::uint32_t complete_head = 0;
    std::uint32_t free_pages = (1U << abi::ring_entries) - 1; // bit per descriptor page
    std::uint64_t next_batch_id = 1;
    std::array<InFlight, abi::ring_entries> in_flight{};
  };

  // Reportable frames beyond the keep-warm reserve.
  [[nodiscard]] std::uint64_t surplus_frames() const;
  [[nodiscard]] static bool has_room(const ChannelState& state);
  [[nodiscard]] bool accept(ChannelState& state, const abi::CompletionEntry& answer);
  [[nodiscard]] unsigned number_of(const ChannelState& state) const {
    return static_cast<unsigned>(&state - channels_.data());
  }

  Buddy& buddy_;
  EventTrace* trace_; // null: nothing is traced
  bool enabled_;
  std::uint32_t batch_ranges_;
  std::uint64_t full_batch_frames_;
  std::uint64_t keep_frames_;
  std::uint64_t delay_ns_;
  // Time since when there is something reportable; never when there is nothing.
  std::uint64_t reportable_since_ns_ = never;
  // Reportable frames that isolate() could not take without going below the reserve, because
  // blocks come whole; nothing is due until there are more.
  std::uint64_t stuck_frames_ = 0;
  std::uint32_t in_flight_batches_ = 0;
  std::uint64_t in_flight_frames_ = 0;
  std::uint64_t last_submit_ns_ = 0;
  ReporterCounters counters_;
  unsigned channel_count_ = 0;
  std::array<ChannelState, EBB_MAX_VCPUS> channels_{};
};

} // namespace guest::mm
