// SPDX-License-Identifier: MIT
#include "guest/mm/reporter.hpp"

#include <algorithm>
#include <atomic>
#include <bit>

namespace guest::mm {

namespace {

std::uint32_t load_acquire(std::uint32_t& word) {
  return std::atomic_ref(word).load(std::memory_order_acquire);
}

} // namespace

Reporter::Reporter(Buddy& buddy, std::span<abi::Channel* const> channels,
                   const abi::ReportPolicy& policy, EventTrace* trace)
    : buddy_(buddy), trace_(trace), enabled_(policy.enabled != 0),
      batch_ranges_(std::clamp(policy.batch, std::uint32_t{1}, abi::max_batch_ranges)),
      keep_frames_(policy.keep_bytes >> abi::page_shift), delay_ns_(policy.delay_ns) {
  const abi::Order order{static_cast<std::uint8_t>(std::min(policy.order, abi::max_order))};
  buddy_.set_report_order(order);
  full_batch_frames_ = batch_ranges_ * order.frames();
  for (abi::Channel* channel :
       channels.first(std::min<std::size_t>(channels.size(), channels_.size()))) {
    ChannelState& state = channels_[channel_count_++];
    state.channel = channel;
    state.submit_tail = channel->rings.submit_tail;
    state.complete_head = channel->rings.complete_head;
  }
}

std::uint64_t Reporter::surplus_frames() const {
  const std::uint64_t reportable = buddy_.fresh_frames_at_or_above_report_order();
  if (!enabled_ || reportable <= std::max(keep_frames_, stuck_frames_)) {
    return 0;
  }
  return reportable - keep_frames_;
}

void Reporter::note_time_locked(std::uint64_t now_ns) {
  // Memory that went and came back since may lie in blocks that can be taken.
  stuck_frames_ = std::min(stuck_frames_, buddy_.fresh_frames_at_or_above_report_order());
  if (surplus_frames() == 0) {
    reportable_since_ns_ = never;
  } else if (reportable_since_ns_ == never) {
    reportable_since_ns_ = now_ns;
  }
}

bool Reporter::due_locked(std::uint64_t now_ns, Urgency urgency) const {
  const std::uint64_t surplus = surplus_frames();
  if (surplus == 0) {
    return false;
  }
  if (surplus >= full_batch_frames_ || urgency == Urgency::now) {
    return true;
  }
  const std::uint64_t wait_ns = urgency == Urgency::idle ? delay_ns_ : busy_partial_age_ns;
  return now_ns >= reportable_since_ns_ && now_ns - reportable_since_ns_ >= wait_ns;
}

bool Reporter::has_room(const ChannelState& state) {
  const std::uint32_t submit_head = load_acquire(state.channel->rings.submit_head);
  // A nonsensical head gives a huge distance and counts as a full ring.
  return state.free_pages != 0 && state.submit_tail - submit_head < abi::ring_entries;
}

SubmitResult Reporter::submit_locked(unsigned channel, std::uint64_t now_ns) {
  ChannelState& state = channels_[channel];
  if (surplus_frames() == 0) {
    return SubmitResult::nothing;
  }
  if (!has_room(state)) {
    ++counters_.busy;
    return SubmitResult::busy;
  }
  const auto page = static_cast<std::uint32_t>(std::countr_zero(state.free_pages));
  const IsolatedBatch batch =
      buddy_.isolate(batch_ranges_, keep_frames_, state.channel->pages[page].ranges);
  if (batch.descriptors == 0) {
    stuck_frames_ = buddy_.fresh_frames_at_or_above_report_order();
    note_time_locked(now_ns);
    return SubmitResult::nothing;
  }
  stuck_frames_ = 0;
  const std::uint64_t batch_id = state.next_batch_id++;
  state.free_pages &= ~(1U << page);
  state.in_flight[page] = {
      .batch_id = batch_id, .range_count = batch.descriptors, .block_frames = batch.block_frames};
  ++in_flight_batches_;
  in_flight_frames_ += batch.block_frames;
  last_submit_ns_ = now_ns;
  // What is left over starts to age anew, or a busy vCPU would send crumbs after the first second.
  reportable_since_ns_ = never;
  note_time_locked(now_ns);

  ++counters_.batches;
  counters_.ranges += batch.hints;
  counters_.spans += batch.descriptors - batch.hints;
  counters_.bytes += batch.hinted_frames * abi::page_bytes;
  counters_.max_in_flight_bytes = std::max(counters_.max_in_flight_bytes, in_flight_bytes());

  if (trace_ != nullptr) [[unlikely]] {
    trace_->submitted(channel, batch_id, batch.descriptors);
  }
  abi::ChannelRings& rings = state.channel->rings;
  rings.submissions[state.submit_tail % abi::ring_entries] = {
      .batch_id = batch_id, .page = page, .range_count = batch.descriptors};
  ++state.submit_tail;
  // Publishing the tail and reading no_doorbell must not pass each other, or a host that is about
  // to stop watching and we could each believe that the other will act. Hence seq_cst for both:
  // the store is a release for the entry and descriptors, and a full barrier before the load.
  std::atomic_ref(rings.submit_tail).store(state.submit_tail, std::memory_order_seq_cst);
  const bool watched = std::atomic_ref(rings.no_doorbell).load(std::memory_order_seq_cst) != 0;
  return watched ? SubmitResult::submitted : SubmitResult::ring_doorbell;
}

// Whether the answer is the first one to a batch in flight; if so the batch is put back.
bool Reporter::accept(ChannelState& state, const abi::CompletionEntry& answer) {
  if (answer.page >= abi::ring_entries) {
    return false;
  }
  InFlight& flight = state.in_flight[answer.page];
  if (flight.batch_id == 0 || flight.batch_id != answer.batch_id ||
      flight.range_count != answer.range_count) {
    return false;
  }
  const std::span ranges(state.channel->pages[answer.page].ranges, flight.range_count);
  for (std::uint32_t index = 0; index < flight.range_count; ++index) {
    if (ranges[index].kind() == abi::RangeKind::hint) {
      const abi::Outcome outcome = answer.outcome(index);
      counters_.discarded_ranges += outcome == abi::Outcome::discarded ? 1 : 0;
      counters_.declined_ranges += outcome == abi::Outcome::declined ? 1 : 0;
      counters_.failed_ranges += outcome == abi::Outcome::failed ? 1 : 0;
    }
  }
  if (trace_ != nullptr) [[unlikely]] {
    trace_->drained(number_of(state), answer.batch_id, answer.range_count);
  }
  buddy_.acknowledge(ranges, answer);
  --in_flight_batches_;
  in_flight_frames_ -= flight.block_frames;
  flight = {};
  state.free_pages |= 1U << answer.page;
  return true;
}

unsigned Reporter::drain_locked(unsigned channel) {
  ChannelState& state = channels_[channel];
  abi::ChannelRings& rings = state.channel->rings;
  const std::uint32_t tail = load_acquire(rings.complete_tail);
  if (tail == state.complete_head) {
    return 0;
  }
  if (tail - state.complete_head > abi::completion_entries) {
    // More answers than fit the ring: the overwritten ones are lost, look at what is there.
    ++counters_.ignored_answers;
    state.complete_head = tail - abi::completion_entries;
  }
  unsigned accepted = 0;
  for (; state.complete_head != tail; ++state.complete_head) {
    const abi::CompletionEntry answer =
        rings.completions[state.complete_head % abi::completion_entries];
    if (accept(state, answer)) {
      ++accepted;
    } else {
      ++counters_.ignored_answers;
    }
  }
  std::atomic_ref(rings.complete_head).store(state.complete_head, std::memory_order_release);
  return accepted;
}

unsigned Reporter::drain_all_locked() {
  unsigned accepted = 0;
  for (unsigned channel = 0; channel < channel_count_; ++channel) {
    accepted += drain_locked(channel);
  }
  return accepted;
}

std::uint64_t Reporter::next_partial_deadline_ns(unsigned channel, std::uint64_t now_ns) const {
  if (surplus_frames() == 0 || reportable_since_ns_ == never) {
    return never;
  }
  const std::uint64_t due_ns =
      delay_ns_ < never - reportable_since_ns_ ? reportable_since_ns_ + delay_ns_ : never;
  return has_room(channels_[channel]) ? due_ns : std::max(due_ns, now_ns + busy_retry_ns);
}

bool Reporter::arm_interrupt_locked(unsigned channel) {
  ChannelState& state = channels_[channel];
  abi::ChannelRings& rings = state.channel->rings;
  // The same handshake as with the doorbell, in the other direction.
  std::atomic_ref(rings.want_interrupt).store(1, std::memory_order_seq_cst);
  if (std::atomic_ref(rings.complete_tail).load(std::memory_order_seq_cst) != state.complete_head) {
    disarm_interrupt_locked(channel);
    return false;
  }
  return true;
}

void Reporter::disarm_interrupt_locked(unsigned channel) {
  std::atomic_ref(channels_[channel].channel->rings.want_interrupt)
      .store(0, std::memory_order_relaxed);
}

} // namespace guest::mm
