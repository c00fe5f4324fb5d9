// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/reporter.hpp"

#include <algorithm>

namespace guest::mm {

namespace {

constexpr std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) {
  return a < Reporter::never - b ? a + b : Reporter::never;
}

} // namespace

Reporter::Reporter(Buddy& buddy, std::span<abi::Channel* const> channels,
                   const ReportSettings& settings, abi::LatencyHistogram& answer_latency,
                   EventWriter* events)
    : buddy_(buddy), answer_latency_(answer_latency), events_(events) {
  for (abi::Channel* channel : channels.first(std::min(channels.size(), ports_.size()))) {
    ports_[channel_count_++] = ChannelPort(*channel);
  }
  apply(settings);
}

// ---- policy ------------------------------------------------------------------------------------

void Reporter::apply(const ReportSettings& settings) {
  const abi::ReportPolicy& policy = settings.policy;
  enabled_ = policy.enabled != 0;
  keep_frames_ = policy.keep_bytes >> abi::page_shift;
  delay_ns_ = policy.delay_ns;
  timeout_ns_ = settings.timeout_ns;
  cooling_.reset(0);
  search_.reset(0, HalfLifeSearch::Blocks::all);
  const abi::Order order{static_cast<std::uint8_t>(std::min(policy.order, abi::max_order))};
  batch_ranges_ = std::clamp(policy.batch, std::uint32_t{1}, abi::max_batch_ranges);
  full_batch_frames_ = batch_ranges_ * order.frames();
  if (order != buddy_.report_order()) {
    buddy_.set_report_order(order);
  }
  switch (policy.strategy) {
  case abi::ReportStrategy::each:
    strategy_ = policy.strategy;
    batch_ranges_ = 1;
    full_batch_frames_ = 1;
    break;
  case abi::ReportStrategy::scan:
    strategy_ = policy.strategy;
    batch_ranges_ = ScanSchedule::batch_ranges;
    break;
  case abi::ReportStrategy::decay:
    strategy_ = policy.strategy;
    cooling_.reset(policy.delay_ns);
    delay_ns_ = 0; // what is cool has waited already
    break;
  case abi::ReportStrategy::adaptive:
    strategy_ = policy.strategy;
    search_.reset(policy.delay_ns, order < HalfLifeSearch::large_order
                                       ? HalfLifeSearch::Blocks::all_or_large
                                       : HalfLifeSearch::Blocks::all);
    delay_ns_ = 0;
    break;
  case abi::ReportStrategy::batch:
  default: // of a newer host
    strategy_ = abi::ReportStrategy::batch;
    break;
  }
}

void Reporter::note_free_memory(std::uint64_t now_ns) {
  const std::uint64_t with_host = buddy_.isolated_frames();
  const std::uint64_t all = buddy_.fresh_frames() + buddy_.answered_frames() + with_host;
  const std::uint64_t large =
      buddy_.free_frames_at_or_above(HalfLifeSearch::large_order) + with_host;
  // What was never used is not resident: it neither saves nor comes back. It lies in large blocks
  // for the most part.
  const std::uint64_t never_used = buddy_.never_used_frames();
  search_.note(now_ns, {.all = all - never_used, .large = large - std::min(large, never_used)});
}

void Reporter::retune_locked(const ReportSettings& settings, std::uint64_t now_ns) {
  apply(settings);
  scan_.reset();
  stuck_frames_ = 0;
  reportable_since_ns_ = never;
  note_time_locked(now_ns);
  next_overdue_ns_ = never;
  for (unsigned channel = 0; channel < channel_count_; ++channel) {
    next_overdue_ns_ =
        std::min(next_overdue_ns_, overdue_at(ports_[channel].oldest_submit_ns(never)));
  }
}

std::uint64_t Reporter::kept_frames(Urgency urgency) const {
  if (urgency == Urgency::now) {
    return keep_frames_;
  }
  return std::max(keep_frames_, search_.on() ? search_.kept_frames() : cooling_.warm_frames());
}

std::uint64_t Reporter::surplus_frames(Urgency urgency) const {
  const std::uint64_t reportable = buddy_.fresh_frames_at_or_above_report_order();
  const std::uint64_t kept = kept_frames(urgency);
  if (!enabled_ || reportable <= kept || reportable - kept <= stuck_frames_) {
    return 0;
  }
  return reportable - kept;
}

void Reporter::note_time_locked(std::uint64_t now_ns) {
  if (search_.on()) {
    note_free_memory(now_ns);
  }
  const std::uint64_t reportable = buddy_.fresh_frames_at_or_above_report_order();
  cooling_.note(now_ns, reportable);
  // Here and below, what stays as it is is not written: this runs at each operation, and lines that
  // are only read stay in every vCPU's cache.
  //
  // Memory that went and came back since may lie in blocks that can be taken.
  const std::uint64_t surplus = reportable - std::min(reportable, kept_frames(Urgency::busy));
  if (stuck_frames_ > surplus) {
    stuck_frames_ = surplus;
  }
  if (surplus_frames(Urgency::busy) == 0) {
    if (reportable_since_ns_ != never) {
      reportable_since_ns_ = never;
    }
    scan_.reset();
  } else {
    if (reportable_since_ns_ == never) {
      reportable_since_ns_ = now_ns;
    }
    scan_.request(now_ns);
  }
}

bool Reporter::due_locked(std::uint64_t now_ns, Urgency urgency) const {
  const std::uint64_t surplus = surplus_frames(urgency);
  if (surplus == 0) {
    return false;
  }
  if (urgency == Urgency::now) {
    return true;
  }
  if (strategy_ == abi::ReportStrategy::scan) {
    return scan_.due(now_ns);
  }
  if (surplus >= full_batch_frames_) {
    return true;
  }
  const std::uint64_t wait_ns = urgency == Urgency::idle ? delay_ns_ : busy_partial_age_ns;
  return now_ns >= reportable_since_ns_ && now_ns - reportable_since_ns_ >= wait_ns;
}

std::uint64_t Reporter::next_deadline_ns(unsigned channel, std::uint64_t now_ns) const {
  std::uint64_t report_ns = never;
  if (due_locked(now_ns, Urgency::idle)) {
    report_ns = now_ns;
  } else if (surplus_frames(Urgency::idle) != 0) {
    report_ns = strategy_ == abi::ReportStrategy::scan
                    ? scan_.deadline_ns()
                    : saturated_sum(reportable_since_ns_, delay_ns_);
  } else if (enabled_) {
    report_ns = std::max(cooling_.next_look_ns(), now_ns);
    if (buddy_.fresh_frames_at_or_above_report_order() > keep_frames_) {
      report_ns = std::max(std::min(report_ns, search_.next_look_ns()), now_ns);
    }
  }
  if (report_ns != never && !ports_[channel].has_room()) {
    // Nothing but an answer makes room, and a quarantined batch's may never come.
    report_ns = ports_[channel].awaited() != 0
                    ? std::max(report_ns, saturated_sum(now_ns, busy_retry_ns))
                    : never;
  }
  return std::min(report_ns, next_overdue_ns_);
}

// ---- submission --------------------------------------------------------------------------------

IsolatedBatch Reporter::isolate_for_scan(std::span<abi::RangeDescriptor> out,
                                         std::uint64_t now_ns) {
  while (const auto list = scan_.current_list(buddy_)) {
    const IsolatedBatch batch = buddy_.isolate_list(*list, batch_ranges_, keep_frames_, out);
    if (batch.descriptors != 0) {
      scan_.took_batch();
      return batch;
    }
    scan_.list_exhausted();
  }
  if (scan_.finish(now_ns) == ScanSchedule::PassResult::took_nothing) {
    stuck_frames_ = surplus_frames(Urgency::idle);
  }
  return {};
}

IsolatedBatch Reporter::isolate(std::span<abi::RangeDescriptor> out, std::uint64_t now_ns,
                                Urgency urgency) {
  if (strategy_ == abi::ReportStrategy::scan && urgency != Urgency::now) {
    return isolate_for_scan(out, now_ns);
  }
  const bool cools = (cooling_.on() || search_.on()) && urgency != Urgency::now;
  const IsolatedBatch batch = buddy_.isolate(batch_ranges_, kept_frames(urgency), out,
                                             cools ? SmallBlocks::later : SmallBlocks::instead);
  stuck_frames_ = batch.descriptors == 0 ? surplus_frames(urgency) : std::uint64_t{0};
  cooling_.took(batch.hinted_frames);
  return batch;
}

SubmitResult Reporter::submit_locked(unsigned channel, std::uint64_t now_ns, Urgency urgency) {
  ChannelPort& port = ports_[channel];
  if (surplus_frames(urgency) == 0) {
    return SubmitResult::nothing;
  }
  if (!port.has_room()) {
    ++counters_.busy;
    return SubmitResult::busy;
  }
  const IsolatedBatch batch = isolate(port.blank_page(), now_ns, urgency);
  if (batch.descriptors == 0) {
    note_time_locked(now_ns);
    return SubmitResult::nothing;
  }
  last_submit_ns_ = now_ns;
  next_overdue_ns_ = std::min(next_overdue_ns_, overdue_at(now_ns));
  ++awaited_batches_;
  // What is left over starts to age anew, or a busy vCPU would send crumbs after the first second.
  reportable_since_ns_ = never;
  note_time_locked(now_ns);

  if (events_ != nullptr) [[unlikely]] {
    events_->submitted(channel, port.next_batch_id(), batch.descriptors);
  }
  const bool doorbell = port.submit(
      {.block_frames = batch.block_frames, .submit_ns = now_ns, .range_count = batch.descriptors});
  channels_at_host_ |= 1U << channel;
  count_submission(channel, batch, doorbell);
  return doorbell ? SubmitResult::ring_doorbell : SubmitResult::submitted;
}

void Reporter::count_submission(unsigned channel, const IsolatedBatch& batch, bool doorbell) {
  for (ChannelCounters* counters :
       {&channel_counters_[channel], static_cast<ChannelCounters*>(&counters_)}) {
    ++counters->batches;
    counters->ranges += batch.hints;
    counters->bytes += batch.hinted_frames * abi::page_bytes;
    counters->suppressed_doorbells += doorbell ? 0 : 1;
  }
  counters_.spans += batch.descriptors - batch.hints;
  counters_.max_in_flight_bytes =
      std::max(counters_.max_in_flight_bytes, buddy_.isolated_frames() * abi::page_bytes);
}

// ---- answers -----------------------------------------------------------------------------------

AnswerKind Reporter::take_answer_locked(unsigned channel, std::uint64_t now_ns) {
  Answer answer;
  const AnswerKind kind = ports_[channel].take_answer(answer);
  if (kind != AnswerKind::fits) {
    counters_.ignored_answers += kind == AnswerKind::ignored ? 1 : 0;
    return kind;
  }
  for (std::uint32_t index = 0; index < answer.ranges.size(); ++index) {
    if (answer.ranges[index].kind() == abi::RangeKind::hint) {
      const abi::Outcome outcome = answer.entry.outcome(index);
      counters_.discarded_ranges += outcome == abi::Outcome::discarded ? 1 : 0;
      counters_.declined_ranges += outcome == abi::Outcome::declined ? 1 : 0;
      counters_.failed_ranges += outcome == abi::Outcome::failed ? 1 : 0;
    }
  }
  if (events_ != nullptr) [[unlikely]] {
    events_->drained(channel, answer.entry.batch_id, answer.entry.range_count);
  }
  buddy_.acknowledge(answer.ranges, answer.entry);
  // Clocks of two vCPUs may differ by a little.
  answer_latency_.add(now_ns - std::min(answer.batch.submit_ns, now_ns));
  if (!ports_[channel].is_used()) {
    channels_at_host_ &= ~(1U << channel);
  }
  if (answer.batch.quarantined) {
    ++counters_.late_answers;
    quarantined_frames_ -= answer.batch.block_frames;
  } else if (--awaited_batches_ == 0) {
    next_overdue_ns_ = never;
  }
  return kind;
}

std::uint64_t Reporter::overdue_at(std::uint64_t submit_ns) const {
  return timeout_ns_ == 0 ? never : saturated_sum(submit_ns, timeout_ns_);
}

bool Reporter::expire(std::uint64_t now_ns) {
  if (timeout_ns_ == 0 || now_ns < timeout_ns_) {
    return false;
  }
  const std::uint64_t quarantined_before = quarantined_frames_;
  next_overdue_ns_ = never;
  for (unsigned channel = 0; channel < channel_count_; ++channel) {
    ChannelPort& port = ports_[channel];
    awaited_batches_ -= port.awaited();
    quarantined_frames_ += port.quarantine(now_ns - timeout_ns_, [&](std::uint64_t batch_id) {
      if (events_ != nullptr) [[unlikely]] {
        events_->quarantined(channel, batch_id);
      }
    });
    awaited_batches_ += port.awaited();
    next_overdue_ns_ = std::min(next_overdue_ns_, overdue_at(port.oldest_submit_ns(never)));
  }
  return quarantined_frames_ != quarantined_before;
}

} // namespace guest::mm
