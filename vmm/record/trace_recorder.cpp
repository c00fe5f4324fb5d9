// SPDX-License-Identifier: MIT
#include "vmm/record/trace_recorder.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#include <x86intrin.h>

#include "shared/abi_version.hpp"
#include "vmm/base/clock.hpp"
#include "vmm/hints/batch.hpp"
#include "vmm/hints/discard_engine.hpp"
#include "vmm/hints/range_coalescer.hpp"
#include "vmm/io/mapping_guard.hpp"

namespace vmm {
namespace {

using abi::TraceEvent;
using abi::TraceLevel;

// Levels below `all` see few guest events and only have to keep the file ahead of its writers.
constexpr std::chrono::milliseconds tick_all{1};
constexpr std::chrono::milliseconds tick_other{5};
// Counters that are no further apart than this are taken as one; what is measured is mostly the
// time it takes the host to look.
constexpr std::int64_t same_tsc_us = 1000;

template <std::size_t Size> void copy_text(char (&to)[Size], std::string_view from) {
  const std::size_t length = std::min(from.size(), Size - 1);
  std::copy_n(from.begin(), length, to);
}

std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  static_cast<void>(::clock_gettime(clock, &now));
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

abi::TraceHeader make_header(const TraceRun& run, const GuestMemory& memory) {
  abi::TraceHeader header;
  header.header_bytes = abi::trace_header_bytes;
  header.start_tsc = __rdtsc();
  header.start_ns = monotonic_ns();
  header.start_boottime_ns = clock_ns(CLOCK_BOOTTIME);
  header.start_realtime_ns = clock_ns(CLOCK_REALTIME);
  header.tsc_khz = run.tsc_khz;
  header.level = run.level;
  header.vcpus = run.vcpus;
  if (run.ring_bytes != 0) {
    header.storage = abi::TraceStorage::ring;
    header.capacity = run.ring_bytes / sizeof(abi::TraceRecord);
  }
  header.ram_bytes = memory.end().value; // holes included: addresses lie below
  header.policy = run.policy;
  header.image_hash = run.image_hash;
  copy_text(header.backing, name_of(memory.backing()));
  copy_text(header.discard, name_of(run.method));
  copy_text(header.host, run.host);
  copy_text(header.image, run.image);
  header.event_count = static_cast<std::uint32_t>(abi::trace_event_texts.size());
  for (std::size_t index = 0; index < abi::trace_event_texts.size(); ++index) {
    const abi::TraceEventText& text = abi::trace_event_texts[index];
    abi::TraceEventInfo& info = header.events[index];
    info.event = text.event;
    copy_text(info.name, text.name);
    copy_text(info.address, text.address);
    copy_text(info.value, text.value);
    copy_text(info.count, text.count);
    copy_text(info.order, text.order);
    copy_text(info.detail, text.detail);
  }
  return header;
}

// The file format's own values: an enumerator that moves must not change what old traces mean.
abi::TraceEnd trace_end(EndKind kind) {
  switch (kind) {
  case EndKind::exited:
    return abi::TraceEnd::exited;
  case EndKind::panicked:
    return abi::TraceEnd::panicked;
  case EndKind::crashed:
    return abi::TraceEnd::crashed;
  case EndKind::interrupted:
    return abi::TraceEnd::interrupted;
  case EndKind::host_failed:
    break;
  }
  return abi::TraceEnd::host_failed;
}

abi::TraceMethod trace_method(DiscardMethod method) {
  switch (method) {
  case DiscardMethod::dontneed:
    return abi::TraceMethod::dontneed;
  case DiscardMethod::free_lazily:
    return abi::TraceMethod::free_lazily;
  case DiscardMethod::none:
    break;
  }
  return abi::TraceMethod::none;
}

abi::TraceMode trace_mode(HostMode mode) {
  switch (mode) {
  case HostMode::sync:
    return abi::TraceMode::host_sync;
  case HostMode::async:
    return abi::TraceMode::host_async;
  case HostMode::poll:
    break;
  }
  return abi::TraceMode::host_poll;
}

std::uint8_t narrow(std::uint32_t number) {
  return static_cast<std::uint8_t>(std::min<std::uint32_t>(number, 0xff));
}

} // namespace

Result<std::unique_ptr<TraceRecorder>>
TraceRecorder::create(TraceTarget target, const TraceRun& run, const GuestMemory& memory) {
  EBB_TRY_ASSIGN(writer, TraceWriter::create(std::move(target), make_header(run, memory)));
  return std::unique_ptr<TraceRecorder>(new TraceRecorder(std::move(writer), run, memory));
}

std::unique_ptr<TraceRecorder> TraceRecorder::create_idle(const TraceRun& run,
                                                          const GuestMemory& memory) {
  MappingGuard::install();
  return std::unique_ptr<TraceRecorder>(new TraceRecorder(nullptr, run, memory));
}

TraceRecorder::TraceRecorder(std::unique_ptr<TraceWriter> writer, const TraceRun& run,
                             const GuestMemory& memory)
    : run_(run), memory_(memory), records_(writer != nullptr), writer_(std::move(writer)) {
  if (at_least(TraceLevel::all)) {
    refaults_.emplace(memory);
  }
}

TraceRecorder::~TraceRecorder() = default;

Result<void> TraceRecorder::begin() {
  return writer_ ? writer_->begin() : Result<void>{};
}

Result<void> TraceRecorder::start(ThreadStart on_start) {
  return thread_.start(
      at_least(TraceLevel::all) ? tick_all : tick_other, [this] { return take_turn(); },
      std::move(on_start));
}

// A guest that writes events goes on to do so when nobody records.
TraceThread::Next TraceRecorder::take_turn() {
  drain_guest();
  if (writer_) { // which becomes another on this thread alone
    writer_->keep_ahead();
  }
  return writer_ || run_.guest_writes ? TraceThread::Next::soon : TraceThread::Next::on_order;
}

void TraceRecorder::stop(const GuestEnding& ending) {
  thread_.stop(); // whose last turn records, too
  drain_guest();
  append({.value = ending.status,
          .event = TraceEvent::end,
          .detail = static_cast<std::uint8_t>(trace_end(ending.kind))});
  if (writer_) {
    writer_->finish();
  }
}

std::uint64_t TraceRecorder::now(const TraceWriter& writer) {
  return monotonic_ns() - writer.header().start_ns;
}

void TraceRecorder::put(TraceWriter& writer, abi::TraceRecord record) {
  record.time_ns = now(writer);
  writer.append(record);
}

void TraceRecorder::append(const abi::TraceRecord& record) {
  if (!records_.load(std::memory_order_relaxed) || muted()) [[unlikely]] {
    return;
  }
  const std::shared_lock lock(writer_mutex_);
  if (writer_) {
    put(*writer_, record);
  }
}

void TraceRecorder::append_kept(std::optional<abi::TraceRecord>& kept,
                                const abi::TraceRecord& record) {
  const std::scoped_lock lock(guest_mutex_);
  kept = record;
  append(record);
}

abi::TraceHeader TraceRecorder::header_now() {
  const std::scoped_lock lock(guest_mutex_);
  return make_header(run_, memory_);
}

TraceRecorder::Recorded TraceRecorder::exchange(std::unique_ptr<TraceWriter> next) {
  const std::scoped_lock guest(guest_mutex_);
  drain_guest_locked(); // happened before
  const std::scoped_lock all(writer_mutex_);
  const auto origin = writer_ ? abi::TraceOrigin::rotated : abi::TraceOrigin::started;
  if (writer_) {
    const auto end = next ? abi::TraceEnd::rotated : abi::TraceEnd::stopped;
    put(*writer_, {.event = TraceEvent::end, .detail = static_cast<std::uint8_t>(end)});
    records_before_ = writer_->records();
    ++part_;
  }
  if (next) {
    put(*next, {.value = records_before_,
                .count = part_,
                .event = TraceEvent::continued,
                .detail = static_cast<std::uint8_t>(origin)});
    for (const auto& kept : {negotiated_, mode_}) {
      if (kept) {
        put(*next, *kept);
      }
    }
  }
  records_.store(next != nullptr, std::memory_order_relaxed);
  return {std::exchange(writer_, std::move(next)), std::exchange(guest_lost_, 0)};
}

bool TraceRecorder::pass_begins(std::uint64_t /*now_ns*/, Occasion /*occasion*/) {
  return refaults_.has_value();
}

void TraceRecorder::resident(abi::Gpa start, std::uint64_t bytes) {
  refaults_->take(start, bytes, [this](abi::Gpa found, std::uint64_t found_bytes) {
    append({.address = found.value, .value = found_bytes, .event = TraceEvent::refault});
  });
}

// ---- the run -----------------------------------------------------------------------------------

void TraceRecorder::boot() {
  append({.value = memory_.size_bytes(), .count = run_.vcpus, .event = TraceEvent::boot});
}

void TraceRecorder::negotiated(const abi::GuestHello& hello) {
  append_kept(negotiated_, {.address = hello.managed_start_gpa,
                            .value = hello.features_accepted,
                            .event = TraceEvent::negotiated});
  if ((hello.features_accepted & abi::feature_trace) != 0) {
    const std::scoped_lock lock(guest_mutex_);
    guest_.emplace(*memory_.object_at<abi::EventRing>({EBB_EVENT_RING_GPA}));
  }
}

void TraceRecorder::workload_end() {
  drain_guest();
  append({.event = TraceEvent::workload_end});
}

void TraceRecorder::memory_sample(const MemorySample& sample) {
  if (sample.resident_bytes) {
    append({.address = *sample.resident_bytes,
            .value = sample.guest.live_bytes,
            .event = TraceEvent::resident});
  }
  append({.address = sample.guest.fresh_bytes,
          .value = sample.guest.reported_bytes,
          .event = TraceEvent::free_memory});
  append({.address = sample.guest.isolated_bytes,
          .value = sample.guest.cached_bytes,
          .event = TraceEvent::held_memory});
}

void TraceRecorder::host_mode(HostMode mode, std::uint32_t workers) {
  append_kept(mode_, {.value = mode == HostMode::sync ? 0 : workers,
                      .event = TraceEvent::mode,
                      .detail = static_cast<std::uint8_t>(trace_mode(mode))});
}

void TraceRecorder::policy(const ReportSettings& settings) {
  const abi::ReportPolicy& policy = settings.policy;
  const auto mode =
      policy.enabled != 0 ? abi::TraceMode::reporting_on : abi::TraceMode::reporting_off;
  const std::scoped_lock lock(guest_mutex_);
  run_.policy = policy;
  append({.address = policy.keep_bytes,
          .value = policy.delay_ns,
          .count = policy.batch,
          .event = TraceEvent::mode,
          .order = narrow(policy.order),
          .detail = static_cast<std::uint8_t>(mode)});
}

void TraceRecorder::hypercall(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) {
  if (at_least(TraceLevel::all)) {
    append({.address = argument,
            .value = static_cast<std::uint64_t>(call),
            .event = TraceEvent::hypercall,
            .channel = narrow(vcpu),
            .order = narrow(vcpu)});
  }
}

// ---- batches -----------------------------------------------------------------------------------

void TraceRecorder::on_doorbell(unsigned vcpu, std::uint32_t channel) {
  drain_guest(); // a full event ring may be why it rang
  append({.event = TraceEvent::doorbell, .channel = narrow(channel), .order = narrow(vcpu)});
}

void TraceRecorder::on_taken(const Batch& batch) {
  drain_guest();
  forget_refaults(batch);
  const std::shared_lock lock(writer_mutex_);
  if (!writer_ || muted()) [[unlikely]] {
    return;
  }
  const std::uint8_t channel = narrow(batch.channel);
  const std::span<const abi::RangeDescriptor> ranges = batch.submitted();
  const bool each = at_least(TraceLevel::ranges);
  // In one piece, so that readers see the ranges of a batch side by side.
  std::uint64_t slot = writer_->claim(1 + (each ? ranges.size() : 0));
  abi::TraceRecord record{.time_ns = now(*writer_),
                          .value = batch.submission.batch_id,
                          .count = batch.submission.range_count,
                          .event = TraceEvent::batch,
                          .channel = channel,
                          .detail = std::uint8_t{batch.acceptable}};
  writer_->write(slot++, record);
  if (!each) {
    return;
  }
  record.event = TraceEvent::range;
  for (std::uint32_t index = 0; index < ranges.size(); ++index) {
    const abi::RangeDescriptor range = ranges[index];
    record.address = abi::to_gpa(range.pfn()).value;
    record.count = index;
    record.order = range.order().value;
    record.detail = static_cast<std::uint8_t>(range.kind());
    writer_->write(slot++, record);
  }
}

void TraceRecorder::forget_refaults(const Batch& batch) {
  if (!refaults_) {
    return;
  }
  for (const abi::RangeDescriptor range : batch.submitted()) {
    if (range.order().value <= abi::max_order &&
        !memory_.at(abi::to_gpa(range.pfn()), range.order().bytes()).empty()) {
      refaults_->forget(abi::to_gpa(range.pfn()), range.order().bytes());
    }
  }
}

void TraceRecorder::on_fault(const Batch& batch, abi::TraceFault fault) {
  append({.value = batch.submission.batch_id,
          .event = TraceEvent::fault,
          .channel = narrow(batch.channel),
          .detail = static_cast<std::uint8_t>(fault)});
}

void TraceRecorder::on_discard_begin(const Batch& batch, unsigned lane, const CoalescedRuns& runs,
                                     const DiscardCounters& /*counters*/) {
  std::uint64_t bytes = 0;
  for (const Run& run : runs.runs()) {
    bytes += run.bytes;
  }
  append({.address = bytes,
          .value = batch.submission.batch_id,
          .count = runs.run_count,
          .event = TraceEvent::discard_begin,
          .channel = narrow(batch.channel),
          .order = narrow(lane),
          .detail = static_cast<std::uint8_t>(trace_method(run_.method))});
}

void TraceRecorder::on_discard_end(const Batch& batch, unsigned lane,
                                   const DiscardCounters& counters) {
  // Counters are totals of the engine; readers take differences.
  append({.address = counters.discarded_bytes.value() + counters.span_extra_bytes.value() +
                     counters.lazily_freed_bytes.value(),
          .value = batch.submission.batch_id,
          .count = static_cast<std::uint32_t>(counters.calls.value()),
          .event = TraceEvent::discard_end,
          .channel = narrow(batch.channel),
          .order = narrow(lane),
          .detail = static_cast<std::uint8_t>(trace_method(run_.method))});
}

void TraceRecorder::on_settled(const Batch& batch) {
  const std::span<const abi::RangeDescriptor> ranges = batch.submitted();
  for (std::uint32_t index = 0; refaults_ && index < ranges.size(); ++index) {
    if (batch.answer.outcome(index) == abi::Outcome::discarded) {
      refaults_->watch(abi::to_gpa(ranges[index].pfn()), ranges[index].order().bytes());
    }
  }
}

void TraceRecorder::on_answer(const Batch& batch) {
  const std::shared_lock lock(writer_mutex_);
  if (!writer_ || muted()) [[unlikely]] {
    return;
  }
  const std::span<const abi::RangeDescriptor> ranges = batch.submitted();
  const bool each = at_least(TraceLevel::ranges);
  std::uint64_t slot = writer_->claim(1 + (each ? ranges.size() : 0));
  abi::TraceRecord record{.time_ns = now(*writer_),
                          .value = batch.submission.batch_id,
                          .channel = narrow(batch.channel)};
  if (each) {
    record.event = TraceEvent::outcome;
    for (std::uint32_t index = 0; index < ranges.size(); ++index) {
      const abi::RangeDescriptor range = ranges[index];
      const abi::Outcome outcome = batch.answer.outcome(index);
      record.address = abi::to_gpa(range.pfn()).value;
      record.count = index;
      record.order = range.order().value;
      record.detail = abi::trace_detail(static_cast<std::uint8_t>(range.kind()),
                                        static_cast<std::uint8_t>(outcome));
      writer_->write(slot++, record);
    }
  }
  record.event = TraceEvent::answer;
  record.address = batch.answer.host_ns;
  record.count = batch.answer.range_count;
  record.order = 0;
  record.detail = 0;
  writer_->write(slot, record);
}

void TraceRecorder::on_answer_dropped(const Batch& batch) {
  append({.value = batch.submission.batch_id,
          .event = TraceEvent::answer_dropped,
          .channel = narrow(batch.channel)});
}

// ---- the guest's events ------------------------------------------------------------------------

void TraceRecorder::drain_guest() {
  const std::scoped_lock lock(guest_mutex_);
  drain_guest_locked();
}

void TraceRecorder::drain_guest_locked() {
  if (!guest_) {
    return;
  }
  const std::shared_lock lock(writer_mutex_);
  TraceWriter* const writer = muted() ? nullptr : writer_.get();
  const std::uint64_t now_ns = writer != nullptr ? now(*writer) : 0;
  const std::uint64_t now_tsc = __rdtsc();
  guest_->drain([&](const abi::GuestEvent& event) {
    if (writer == nullptr) [[unlikely]] {
      return;
    }
    if (!tsc_offset_) {
      const auto apart = static_cast<std::int64_t>(event.tsc - now_tsc);
      const std::int64_t near = same_tsc_us * run_.tsc_khz / 1000;
      tsc_offset_ = apart > -near && apart < near ? 0 : apart;
    }
    const std::uint64_t ticks = now_tsc - (event.tsc - static_cast<std::uint64_t>(*tsc_offset_));
    // A counter ahead of ours, or one that makes no sense, is "now".
    const std::uint64_t age_ns = static_cast<std::int64_t>(ticks) < 0 || ticks >> 40 != 0
                                     ? 0
                                     : ticks * 1'000'000 / run_.tsc_khz;
    writer->append({.time_ns = now_ns - std::min(age_ns, now_ns),
                    .address = event.address,
                    .value = event.value,
                    .count = event.count,
                    .event = event.event,
                    .channel = event.channel,
                    .order = event.order,
                    .detail = event.detail});
  });
  const std::uint64_t lost = guest_->take_lost();
  if (lost != 0 && writer != nullptr) {
    put(*writer, {.value = lost, .event = TraceEvent::guest_lost});
    guest_lost_ += lost;
  }
}

} // namespace vmm
