// SPDX-License-Identifier: MIT
#include "vmm/trace/model.hpp"

#include <fmt/core.h>

#include "shared/abi_version.hpp"
#include "shared/report_channel.hpp"
#include "vmm/trace/event_text.hpp"

namespace hvtrace {

using abi::TraceEvent;
using abi::TraceLevel;
using Stage = BatchState::Stage;

namespace {

constexpr auto hint = static_cast<std::uint8_t>(abi::RangeKind::hint);
constexpr auto span = static_cast<std::uint8_t>(abi::RangeKind::span);

} // namespace

struct Model::Context {
  const abi::TraceRecord& record;
  std::vector<Violation>& violations;

  template <typename... Args>
  void object(fmt::format_string<Args...> format, Args&&... args) const {
    violations.push_back({record.sequence, fmt::format(format, std::forward<Args>(args)...)});
  }
  // "batch 7 of channel 0"
  [[nodiscard]] std::string batch() const {
    return fmt::format("batch {} of channel {}", record.value, record.channel);
  }
};

Model::Model(const TraceSource& source)
    : frames_(source.header().ram_bytes), level_(source.header().level),
      first_number_(source.first()), whole_history_(source.first() == 1) {}

void Model::apply_missing(std::uint64_t /*number*/) {
  latency_ns_ = std::nullopt;
}

void Model::apply(const abi::TraceRecord& record, std::vector<Violation>& violations) {
  const Context context{record, violations};
  latency_ns_ = std::nullopt;
  if (end_number_ != 0 && !abi::is_guest_event(record.event) &&
      record.event != TraceEvent::continued) {
    context.object("a record after the end");
  }
  switch (record.event) {
  case TraceEvent::continued:
    on_continued(context);
    break;
  case TraceEvent::negotiated:
    on_negotiated(context);
    break;
  case TraceEvent::submit:
    on_submit(context);
    break;
  case TraceEvent::batch:
    on_batch(context);
    break;
  case TraceEvent::range:
    on_range(context);
    break;
  case TraceEvent::discard_begin:
  case TraceEvent::discard_end:
    on_discard(context);
    break;
  case TraceEvent::outcome:
    on_outcome(context);
    break;
  case TraceEvent::answer:
    on_answer(context);
    break;
  case TraceEvent::answer_dropped:
    on_answer_dropped(context);
    break;
  case TraceEvent::drain:
    on_drain(context);
    break;
  case TraceEvent::quarantine:
    if (BatchState* const batch = batches_.find(record)) {
      batch->quarantined = true;
    } else if (knows_past()) {
      context.object("quarantine of {}, which is not in flight", context.batch());
    }
    break;
  case TraceEvent::fault:
    if (BatchState* const batch = batches_.find(record)) {
      const auto fault = static_cast<abi::TraceFault>(record.detail);
      batch->unanswerable |= fault == abi::TraceFault::drop || fault == abi::TraceFault::stall;
    }
    break;
  case TraceEvent::allocate:
  case TraceEvent::free:
  case TraceEvent::unused:
    on_block(context);
    break;
  case TraceEvent::resident:
    memory_.resident_bytes = record.address;
    memory_.live_bytes = record.value;
    break;
  case TraceEvent::free_memory:
    memory_.fresh_bytes = record.address;
    memory_.reported_bytes = record.value;
    break;
  case TraceEvent::held_memory:
    memory_.isolated_bytes = record.address;
    memory_.cached_bytes = record.value;
    break;
  case TraceEvent::guest_lost:
    guest_lost_ += record.value;
    break;
  case TraceEvent::workload_end:
    workload_end_number_ = record.sequence;
    break;
  case TraceEvent::end:
    end_number_ = record.sequence;
    end_kind_ = record.detail;
    break;
  case TraceEvent::none:
    context.object("an empty record");
    break;
  default:
    break; // events of no consequence here, or of a later version
  }
}

// A trace begins anew in the middle of a run: the first of a source, or the next of a series.
void Model::on_continued(const Context& context) {
  const abi::TraceRecord& record = context.record;
  if (record.sequence == first_number_) {
    whole_history_ = false;
    begins_midway_ = true;
  } else if (end_number_ + 1 != record.sequence ||
             end_kind_ != static_cast<std::uint8_t>(abi::TraceEnd::rotated)) {
    context.object("a trace begins in the middle of another");
  }
  // What holds is told once more.
  end_number_ = 0;
  negotiated_ = false;
}

void Model::on_negotiated(const Context& context) {
  if (negotiated_) {
    context.object("negotiated twice");
  }
  negotiated_ = true;
  guest_traced_ =
      (whole_history_ || begins_midway_) && (context.record.value & abi::feature_trace) != 0;
}

void Model::on_submit(const Context& context) {
  const abi::TraceRecord& record = context.record;
  if (const BatchState* const known = batches_.find(record)) {
    context.object("{} submitted again while it is {}", context.batch(),
                   known->stage == Stage::answered ? "not taken in" : "in flight");
  }
  batches_.open(record) = {
      .ranges = record.count, .submit_ns = record.time_ns, .code = record.address};
}

void Model::on_batch(const Context& context) {
  const abi::TraceRecord& record = context.record;
  BatchState* batch = batches_.find(record);
  if (whole_history_ && !negotiated_) {
    context.object("{} taken before anything was negotiated", context.batch());
  }
  if (batch == nullptr) {
    if (knows_past()) {
      context.object("{} taken without a submission", context.batch());
    }
    batch = &batches_.open(record);
    *batch = {.ranges = record.count, .submit_ns = record.time_ns};
  } else if (batch->stage != Stage::submitted) {
    context.object("{} taken twice", context.batch());
    *batch = {.ranges = record.count, .submit_ns = record.time_ns};
  } else if (batch->ranges != record.count) {
    context.object("{} taken with {} ranges, submitted with {}", context.batch(), record.count,
                   batch->ranges);
  }
  batch->stage = Stage::taken;
}

void Model::on_range(const Context& context) {
  const abi::TraceRecord& record = context.record;
  BatchState* const batch = batches_.find(record);
  if (batch == nullptr || batch->stage != Stage::taken) {
    if (batch != nullptr || whole_history_) {
      context.object("a range of {}, which is not being taken", context.batch());
    }
    return;
  }
  if (record.count != batch->ranges_seen) {
    context.object("range {} of {} where range {} is due", record.count, context.batch(),
                   batch->ranges_seen);
  }
  ++batch->ranges_seen;
  // What the host's validator refuses is answered as failed and changes nothing.
  if ((record.detail != hint && record.detail != span) ||
      !frames_.holds(record.address, record.order)) {
    return;
  }
  const std::uint64_t end = record.address + abi::Order{record.order}.bytes();
  const bool enclosed = record.address >= batch->span_start && end <= batch->span_end;
  if (!enclosed) {
    if (const auto gpa = frames_.first_in_flight(record.address, record.order)) {
      context.object("{} hints {:#x}, which is in flight", context.batch(), *gpa);
    }
  }
  if (record.detail == span) {
    batch->span_start = record.address;
    batch->span_end = end;
    frames_.set_flight(record.address, record.order, true);
    return;
  }
  batch->bytes += end - record.address;
  // Below level `all` the guest tells only of reported memory that it hands out again.
  if (guest_complete()) {
    if (const auto gpa = frames_.first_of(record.address, record.order, FrameState::reported)) {
      context.object("{} hints {:#x} again, without an allocation since its last answer",
                     context.batch(), *gpa);
    }
    if (level_ == TraceLevel::all) {
      if (const auto gpa = frames_.first_of(record.address, record.order, FrameState::allocated)) {
        context.object("{} hints {:#x}, which is in use", context.batch(), *gpa);
      }
      if (const auto gpa = frames_.first_of(record.address, record.order, FrameState::declined)) {
        context.object("{} hints {:#x} again, without an allocation since it was declined",
                       context.batch(), *gpa);
      }
      if (const auto gpa = frames_.first_of(record.address, record.order, FrameState::unknown);
          gpa && whole_history_) {
        context.object("{} hints {:#x}, which was never freed", context.batch(), *gpa);
      }
    }
  }
  frames_.set_state(record.address, record.order, FrameState::isolated);
  frames_.set_flight(record.address, record.order, true);
}

void Model::on_discard(const Context& context) {
  const abi::TraceRecord& record = context.record;
  BatchState* const batch = batches_.find(record);
  const bool begins = record.event == TraceEvent::discard_begin;
  if (batch == nullptr) {
    if (whole_history_) {
      context.object("discard for {}, which is not in flight", context.batch());
    }
    return;
  }
  if (batch->stage == Stage::answered || batch->stage == Stage::dropped) {
    context.object("discard for {} after its answer", context.batch());
    return;
  }
  // What is never answered may be discarded any number of times.
  const bool again = begins && batch->unanswerable && batch->stage == Stage::discarded;
  if (!again && batch->stage != (begins ? Stage::taken : Stage::discarding)) {
    context.object("discard for {} {} out of turn", context.batch(), begins ? "begins" : "ends");
  }
  if (begins && level_ >= TraceLevel::ranges && batch->ranges_seen != batch->ranges) {
    context.object("{} has {} ranges, {} were recorded", context.batch(), batch->ranges,
                   batch->ranges_seen);
  }
  batch->stage = begins ? Stage::discarding : Stage::discarded;
}

void Model::on_outcome(const Context& context) {
  const abi::TraceRecord& record = context.record;
  BatchState* const batch = batches_.find(record);
  if (batch == nullptr) {
    if (whole_history_) {
      context.object("an outcome for {}, which is not in flight", context.batch());
    }
    return;
  }
  if (batch->stage != Stage::taken && batch->stage != Stage::discarded) {
    context.object("an outcome for {} out of turn", context.batch());
  }
  if (record.count != batch->outcomes_seen) {
    context.object("outcome {} of {} where outcome {} is due", record.count, context.batch(),
                   batch->outcomes_seen);
  }
  ++batch->outcomes_seen;
  const std::uint8_t kind = record.detail & 0xfU;
  if ((kind != hint && kind != span) || !frames_.holds(record.address, record.order)) {
    return;
  }
  if (kind == span) {
    // The hints inside follow; what lies between them is the guest's again with the answer.
    batch->span_start = record.address;
    batch->span_end = record.address + abi::Order{record.order}.bytes();
    frames_.set_flight(record.address, record.order, false);
  } else {
    if (whole_history_ &&
        frames_.state(record.address >> abi::page_shift) != FrameState::isolated) {
      context.object("an outcome for {:#x}, which {} did not hint", record.address,
                     context.batch());
    }
    const bool discarded = record.detail >> 4 == static_cast<std::uint8_t>(abi::Outcome::discarded);
    frames_.set_state(record.address, record.order,
                      discarded ? FrameState::reported : FrameState::declined);
    frames_.set_flight(record.address, record.order, false);
  }
}

void Model::on_answer(const Context& context) {
  const abi::TraceRecord& record = context.record;
  BatchState* const batch = batches_.find(record);
  if (batch == nullptr) {
    if (whole_history_) {
      context.object("an answer to {}, which was not submitted", context.batch());
    }
    return;
  }
  if (batch->stage == Stage::answered) {
    context.object("{} answered twice", context.batch());
  } else if (batch->stage != Stage::discarded && batch->stage != Stage::taken) {
    context.object("{} answered {}", context.batch(),
                   batch->stage == Stage::submitted ? "before it was taken"
                                                    : "in the middle of its discard");
  }
  // An unusable batch has no ranges to speak of.
  if (level_ >= TraceLevel::ranges && batch->outcomes_seen != batch->ranges_seen) {
    context.object("{} has {} ranges, {} outcomes were recorded", context.batch(),
                   batch->ranges_seen, batch->outcomes_seen);
  }
  batch->stage = Stage::answered;
  batch->answer_number = record.sequence;
  latency_ns_ = record.time_ns - std::min(record.time_ns, batch->submit_ns);
  // Where the guest does not tell when it takes the answer in, the batch is over.
  if (!guest_traced_) {
    batches_.close(record);
  }
}

void Model::on_answer_dropped(const Context& context) {
  BatchState* const batch = batches_.find(context.record);
  if (batch == nullptr) {
    if (whole_history_) {
      context.object("no room for the answer to {}, which is not in flight", context.batch());
    }
    return;
  }
  if (batch->stage != Stage::discarded && batch->stage != Stage::taken) {
    context.object("no room for the answer to {}, out of turn", context.batch());
  }
  batch->stage = Stage::dropped;
}

void Model::on_drain(const Context& context) {
  const abi::TraceRecord& record = context.record;
  const BatchState* const batch = batches_.find(record);
  if (batch == nullptr) {
    if (knows_past()) {
      context.object("the guest took in an answer to {}, which is not in flight", context.batch());
    }
    return;
  }
  if (batch->stage != Stage::answered && batch->stage != Stage::dropped) {
    context.object("the guest took in an answer to {}, which has none", context.batch());
  }
  latency_ns_ = record.time_ns - std::min(record.time_ns, batch->submit_ns);
  batches_.close(record);
}

void Model::on_block(const Context& context) {
  const abi::TraceRecord& record = context.record;
  if (!frames_.holds(record.address, record.order)) {
    context.object("a block at {:#x}, order {}, which is not guest memory", record.address,
                   record.order);
    return;
  }
  const bool strict = level_ == TraceLevel::all && guest_complete();
  if (record.event == TraceEvent::allocate) {
    if (const auto gpa = frames_.first_in_flight(record.address, record.order)) {
      context.object("allocation of {:#x}, which is in flight", *gpa);
    } else if (strict) {
      if (const auto used = frames_.first_of(record.address, record.order, FrameState::allocated)) {
        context.object("allocation of {:#x}, which is allocated", *used);
      }
    }
    frames_.set_state(record.address, record.order, FrameState::allocated);
    return;
  }
  const FrameState before = frames_.state(record.address >> abi::page_shift);
  if (strict && before != FrameState::allocated &&
      (whole_history_ || before != FrameState::unknown)) {
    context.object("{:#x} comes back, which was not allocated", record.address);
  }
  if (record.event == TraceEvent::free) {
    frames_.set_state(record.address, record.order, FrameState::fresh);
  } else {
    frames_.set_state(record.address, record.order,
                      record.count != 0 ? FrameState::reported : FrameState::unknown);
  }
}

void Model::finish(std::vector<Violation>& violations) const {
  if (end_number_ == 0) {
    return; // incomplete: nothing can be said of what is still open
  }
  const bool orderly =
      end_kind_ == static_cast<std::uint8_t>(abi::TraceEnd::exited) && workload_end_number_ != 0;
  for (const auto& [key, batch] : batches_) {
    const bool answered = batch.stage == Stage::answered || batch.stage == Stage::dropped;
    if (orderly && !answered && !batch.quarantined && !batch.unanswerable) {
      violations.push_back({end_number_, fmt::format("batch {} of channel {} was never answered",
                                                     key.second, key.first)});
    } else if (orderly && guest_complete() && batch.stage == Stage::answered &&
               batch.answer_number < workload_end_number_ && !batch.quarantined) {
      violations.push_back(
          {end_number_, fmt::format("the guest never took in the answer to batch {} of channel {}",
                                    key.second, key.first)});
    }
  }
}

} // namespace hvtrace
