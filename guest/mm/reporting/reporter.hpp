// SPDX-License-Identifier: MIT
// The reporting state machine: free pages become hints, answers become free pages again.
//
// clang-format off
//   free -> merge -> isolate -> submit -> (host) -> answer -> put back
//                                  |
//                                  +-- no answer within the timeout: quarantine -- late: put back
// clang-format on
//
// One path serves synchronous and asynchronous hosts: a synchronous one has answered before the
// doorbell returns. Never allocates, never waits; the work of a call is bounded by one batch. A
// busy channel only means that blocks stay fresh and are reported later. What is never answered
// stays isolated for good, and its descriptor page occupied: a late discard would destroy data.
//
// Strategies (abi::ReportStrategy):
//   batch  when a full batch is reportable, or a partial one has become old enough
//   each   a batch per block, at the free that makes it reportable: the freed block is merged
//          first, and what is hinted is the merged block's fresh content
//   scan   periodic passes over the free lists (scan_schedule.hpp); batches of 32, whatever
//          `batch` says; `delay` means nothing
//   decay  as batch, but what is free is let go by halves, one each `delay` (cooling.hpp)
//   adaptive  as decay, with the half-life that would have paid best so far, for all blocks or for
//          those of order 4 and up (half_life_search.hpp); `delay` is the break-even time
//
// Not thread-safe: the `_locked` functions run under the lock that guards the Buddy too. Under it
// any vCPU may submit on, and take answers from, any channel. The doorbell is rung by the caller,
// outside that lock.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>

#include "guest/mm/buddy/buddy.hpp"
#include "guest/mm/reporting/channel_port.hpp"
#include "guest/mm/reporting/cooling.hpp"
#include "guest/mm/reporting/event_writer.hpp"
#include "guest/mm/reporting/half_life_search.hpp"
#include "guest/mm/reporting/report_settings.hpp"
#include "guest/mm/reporting/scan_schedule.hpp"
#include "shared/boot_info.hpp"
#include "shared/latency_histogram.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace guest::mm {

// How willing the caller is to send a batch that is not full.
enum class Urgency : std::uint8_t {
  busy, // a vCPU at work: full batches, and what is older than Reporter::busy_partial_age_ns
  idle, // a vCPU without work: also what is older than the policy's delay
  now,  // whatever is reportable, by whatever strategy
};

enum class SubmitResult : std::uint8_t {
  submitted,     // the host is watching, no doorbell wanted
  ring_doorbell, // submitted; ring after the lock is released
  busy,          // no free descriptor page or ring slot; nothing was isolated
  nothing,       // nothing reportable, or the end of a scan's pass
};

// Of one channel, since construction.
struct ChannelCounters {
  std::uint64_t batches = 0;
  std::uint64_t ranges = 0;               // hints
  std::uint64_t bytes = 0;                // hinted
  std::uint64_t suppressed_doorbells = 0; // submissions that needed none
};

// Of all channels, since construction.
struct ReporterCounters : ChannelCounters {
  std::uint64_t spans = 0;
  std::uint64_t discarded_ranges = 0; // answers to hints
  std::uint64_t declined_ranges = 0;
  std::uint64_t failed_ranges = 0;
  std::uint64_t busy = 0;            // submissions postponed
  std::uint64_t late_answers = 0;    // that ended a quarantine
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

  // One channel per vCPU, at most EBB_MAX_VCPUS, which outlive the reporter, with nothing in
  // flight. Sets the report order of `buddy`. Times of answers go to `answer_latency`, events to
  // `events` unless that is null.
  Reporter(Buddy& buddy, std::span<abi::Channel* const> channels, const ReportSettings& settings,
           abi::LatencyHistogram& answer_latency, EventWriter* events = nullptr);
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  // Changes everything about reporting but what is in flight; a new timeout holds for that, too,
  // though what is in quarantine stays there. A new order walks the free blocks of at least that
  // order.
  void retune_locked(const ReportSettings& settings, std::uint64_t now_ns);

  // To be called after allocations, frees and submissions, with the current time: keeps the age of
  // the oldest reportable memory, and how much of it was not needed recently.
  void note_time_locked(std::uint64_t now_ns);

  // Whether submit_locked should be called.
  [[nodiscard]] bool due_locked(std::uint64_t now_ns, Urgency urgency) const;
  // Isolates up to one batch and submits it. The urgency is the one it was due with.
  [[nodiscard]] SubmitResult submit_locked(unsigned channel, std::uint64_t now_ns, Urgency urgency);

  // Bit per channel with batches that the host has not answered, overdue ones, too.
  [[nodiscard]] std::uint32_t channels_at_host() const { return channels_at_host_; }
  [[nodiscard]] bool has_answer(unsigned channel) const { return ports_[channel].has_answer(); }
  // Takes in one completion entry, if one has arrived, and says what it was.
  AnswerKind take_answer_locked(unsigned channel, std::uint64_t now_ns);
  // Quarantines what is overdue; whether anything was. Answers that have arrived should have been
  // taken in before.
  bool expire_locked(std::uint64_t now_ns) { return now_ns >= next_overdue_ns_ && expire(now_ns); }

  // When an idle vCPU that uses `channel` should look again: something becomes due or overdue;
  // never if nothing will. Answers are not waited for: they come with an interrupt.
  [[nodiscard]] std::uint64_t next_deadline_ns(unsigned channel, std::uint64_t now_ns) const;

  [[nodiscard]] bool arm_interrupt_locked(unsigned channel) {
    return ports_[channel].arm_interrupt();
  }
  void disarm_interrupt_locked(unsigned channel) { ports_[channel].disarm_interrupt(); }

  // Batches in flight whose answer is not overdue, on all channels or on one.
  [[nodiscard]] unsigned awaited_batches() const { return awaited_batches_; }
  // When the oldest of them is overdue; never without a timeout or if there is none.
  [[nodiscard]] std::uint64_t next_overdue_ns() const { return next_overdue_ns_; }
  [[nodiscard]] unsigned awaited_batches(unsigned channel) const {
    return ports_[channel].awaited();
  }
  [[nodiscard]] std::uint64_t quarantined_frames() const { return quarantined_frames_; }
  // Time of the latest submission; 0 before the first.
  [[nodiscard]] std::uint64_t last_submit_ns() const { return last_submit_ns_; }
  [[nodiscard]] std::uint64_t timeout_ns() const { return timeout_ns_; }
  [[nodiscard]] abi::ReportStrategy strategy() const { return strategy_; }
  // Of what is free, with the strategies decay and adaptive, else 0; never: nothing is let go.
  [[nodiscard]] std::uint64_t half_life_ns() const {
    return search_.on() ? search_.half_life_ns() : cooling_.half_life_ns();
  }
  [[nodiscard]] const ReporterCounters& counters() const { return counters_; }
  [[nodiscard]] const ChannelCounters& counters(unsigned channel) const {
    return channel_counters_[channel];
  }
  [[nodiscard]] unsigned channel_count() const { return channel_count_; }

 private:
  void apply(const ReportSettings& settings);
  void note_free_memory(std::uint64_t now_ns);
  // Reportable frames beyond those that are kept.
  [[nodiscard]] std::uint64_t surplus_frames(Urgency urgency) const;
  // The keep-warm reserve, or what is warm if that is more, unless all is to go now.
  [[nodiscard]] std::uint64_t kept_frames(Urgency urgency) const;
  [[nodiscard]] IsolatedBatch isolate(std::span<abi::RangeDescriptor> out, std::uint64_t now_ns,
                                      Urgency urgency);
  [[nodiscard]] IsolatedBatch isolate_for_scan(std::span<abi::RangeDescriptor> out,
                                               std::uint64_t now_ns);
  bool expire(std::uint64_t now_ns);
  void count_submission(unsigned channel, const IsolatedBatch& batch, bool doorbell);
  [[nodiscard]] std::uint64_t overdue_at(std::uint64_t submit_ns) const;

  Buddy& buddy_;
  abi::LatencyHistogram& answer_latency_;
  EventWriter* events_; // null: nothing is traced
  bool enabled_ = false;
  abi::ReportStrategy strategy_ = abi::ReportStrategy::batch;
  std::uint32_t batch_ranges_ = 1;
  std::uint64_t full_batch_frames_ = 1;
  std::uint64_t keep_frames_ = 0;
  std::uint64_t delay_ns_ = 0;
  std::uint64_t timeout_ns_ = 0;
  ScanSchedule scan_;
  // Time since when there is something reportable; never when there is nothing.
  std::uint64_t reportable_since_ns_ = never;
  Cooling cooling_;
  HalfLifeSearch search_;
  // Surplus that isolate() could not take because blocks come whole; nothing is due until there is
  // more.
  std::uint64_t stuck_frames_ = 0;
  std::uint64_t last_submit_ns_ = 0;
  // No awaited batch is overdue before this time.
  std::uint64_t next_overdue_ns_ = never;
  unsigned awaited_batches_ = 0;
  std::uint32_t channels_at_host_ = 0;
  std::uint64_t quarantined_frames_ = 0;
  ReporterCounters counters_;
  unsigned channel_count_ = 0;
  std::array<ChannelPort, EBB_MAX_VCPUS> ports_{};
  std::array<ChannelCounters, EBB_MAX_VCPUS> channel_counters_{};
};

} // namespace guest::mm
