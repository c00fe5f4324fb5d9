// SPDX-License-Identifier: MIT
#include "tools/hvtrace/export.hpp"

#include <string>

#include "tools/hvtrace/perfetto.pb.h"
#include "tools/hvtrace/timeline.hpp"

namespace hvtrace {
namespace {

namespace protos = perfetto::protos;

constexpr std::uint64_t process_uuid = 1;
constexpr std::int32_t process_id = 1;
constexpr std::uint32_t sequence_id = 1;
constexpr std::uint32_t clock_monotonic = 3;  // ClockSnapshot::BuiltinClocks
constexpr std::uint32_t sequence_cleared = 1; // SEQ_INCREMENTAL_STATE_CLEARED
constexpr std::size_t piece_bytes = std::size_t{64} << 10;

std::uint64_t uuid_of(Track::Kind kind, std::uint32_t number) {
  return (std::uint64_t{static_cast<std::uint8_t>(kind)} + 1) << 32 | number;
}

// A Trace is a repetition of packets, so whole Traces of one packet each may be strung together.
class Writer {
 public:
  Writer(const ByteSink& sink, std::uint64_t start_ns) : sink_(sink), start_ns_(start_ns) {
    auto* const descriptor = packet()->mutable_track_descriptor();
    descriptor->set_uuid(process_uuid);
    descriptor->mutable_process()->set_pid(process_id);
    descriptor->mutable_process()->set_process_name("guest");
    trace_.mutable_packet(0)->set_sequence_flags(sequence_cleared);
    write();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { sink_(out_); }

  void track(const Track& track) {
    auto* const descriptor = packet()->mutable_track_descriptor();
    descriptor->set_uuid(uuid_of(track.kind, track.number));
    descriptor->set_parent_uuid(process_uuid);
    descriptor->set_name(track.name);
    if (track.kind == Track::Kind::counter) {
      const bool is_count = track.name.starts_with("batches");
      descriptor->mutable_counter()->set_unit(is_count
                                                  ? protos::CounterDescriptor::UNIT_COUNT
                                                  : protos::CounterDescriptor::UNIT_SIZE_BYTES);
    }
    write();
  }

  void event(const TimelineEvent& event) {
    protos::TracePacket* const to = packet();
    to->set_timestamp(start_ns_ + event.time_ns);
    to->set_timestamp_clock_id(clock_monotonic);
    auto* const shown = to->mutable_track_event();
    shown->set_track_uuid(uuid_of(event.track, event.track_number));
    switch (event.kind) {
    case TimelineEvent::Kind::begin:
      shown->set_type(protos::TrackEvent::TYPE_SLICE_BEGIN);
      break;
    case TimelineEvent::Kind::end:
      shown->set_type(protos::TrackEvent::TYPE_SLICE_END);
      break;
    case TimelineEvent::Kind::instant:
      shown->set_type(protos::TrackEvent::TYPE_INSTANT);
      break;
    case TimelineEvent::Kind::counter:
      shown->set_type(protos::TrackEvent::TYPE_COUNTER);
      shown->set_counter_value(static_cast<std::int64_t>(event.value));
      break;
    }
    if (!event.name.empty()) {
      shown->set_name(event.name);
      shown->add_categories("hint");
    }
    if (event.flow != 0 && event.flow_ends) {
      shown->add_terminating_flow_ids(event.flow);
    } else if (event.flow != 0) {
      shown->add_flow_ids(event.flow);
    }
    if (event.bytes != 0) {
      auto* const annotation = shown->add_debug_annotations();
      annotation->set_name("bytes");
      annotation->set_uint_value(event.bytes);
    }
    write();
  }

 private:
  protos::TracePacket* packet() {
    trace_.Clear();
    protos::TracePacket* const added = trace_.add_packet();
    added->set_trusted_packet_sequence_id(sequence_id);
    return added;
  }
  void write() {
    trace_.AppendToString(&out_);
    if (out_.size() >= piece_bytes) {
      sink_(out_);
      out_.clear();
    }
  }

  const ByteSink& sink_;
  std::uint64_t start_ns_;
  protos::Trace trace_;
  std::string out_;
};

} // namespace

void export_perfetto(const TraceSource& source, const ByteSink& sink) {
  Writer writer(sink, source.header().start_ns);
  make_timeline(source, {.track = [&writer](const Track& track) { writer.track(track); },
                         .event = [&writer](const TimelineEvent& event) { writer.event(event); }});
}

} // namespace hvtrace
