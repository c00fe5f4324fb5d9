// SPDX-License-Identifier: MIT
#include "tools/hvtrace/export.hpp"

#include <string>

#include <fmt/core.h>

#include "tools/hvtrace/perfetto.pb.h"
#include "tools/hvtrace/timeline.hpp"

namespace hvtrace {
namespace {

namespace protos = perfetto::protos;

// Ours among those of a host's own trace, which may be appended to this one: packets of another
// writer have other sequences and tracks.
constexpr std::uint32_t sequence_id = 0x456262;
constexpr std::uint64_t process_uuid = std::uint64_t{sequence_id} << 40;
constexpr std::uint32_t sequence_cleared = 1; // SEQ_INCREMENTAL_STATE_CLEARED
constexpr std::uint32_t sequence_needed = 2;  // SEQ_NEEDS_INCREMENTAL_STATE

std::uint64_t uuid_of(TrackId id) {
  return process_uuid | (std::uint64_t{static_cast<std::uint8_t>(id.kind)} + 1) << 32 | id.number;
}

// A Trace is a repetition of packets, so whole Traces of one packet each may be strung together.
class Writer {
 public:
  Writer(const ByteSink& sink, const abi::TraceHeader& header)
      : sink_(sink), start_ns_(header.start_ns) {
    clocks(header);
    auto* const descriptor = packet()->mutable_track_descriptor();
    descriptor->set_uuid(process_uuid);
    descriptor->mutable_process()->set_pid(guest_process_id);
    descriptor->mutable_process()->set_process_name("guest");
    write();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { sink_(out_); }

  void track(const Track& track) {
    auto* const descriptor = packet()->mutable_track_descriptor();
    descriptor->set_uuid(uuid_of(track.id));
    descriptor->set_parent_uuid(process_uuid);
    descriptor->set_name(track.name);
    if (track.id.kind == TrackId::Kind::counter) {
      const bool is_count = track.name.starts_with("batches");
      descriptor->mutable_counter()->set_unit(is_count
                                                  ? protos::CounterDescriptor::UNIT_COUNT
                                                  : protos::CounterDescriptor::UNIT_SIZE_BYTES);
    }
    write();
  }

  void slice(const Slice& slice) {
    describe(event(slice.track, slice.begin_ns, protos::TrackEvent::TYPE_SLICE_BEGIN), slice);
    write();
    if (slice.end_ns) {
      event(slice.track, *slice.end_ns, protos::TrackEvent::TYPE_SLICE_END);
      write();
    }
  }

  void instant(const Instant& instant) {
    describe(event(instant.track, instant.time_ns, protos::TrackEvent::TYPE_INSTANT), instant);
    write();
  }

  // vCPUs as threads of the guest's process, which samples are of.
  void profile(const ProfileSamples& samples) {
    for (std::size_t vcpu = 0; vcpu < samples.vcpus.size(); ++vcpu) {
      auto* const descriptor = packet()->mutable_track_descriptor();
      descriptor->set_uuid(process_uuid | std::uint64_t{0xff} << 32 | vcpu);
      auto* const thread = descriptor->mutable_thread();
      thread->set_pid(guest_process_id);
      thread->set_tid(thread_of(vcpu));
      thread->set_thread_name(fmt::format("vcpu {} profile", vcpu));
      write();
    }
    intern(samples);
    for (std::size_t vcpu = 0; vcpu < samples.vcpus.size(); ++vcpu) {
      for (const ProfileSamples::Sample& sample : samples.vcpus[vcpu]) {
        protos::TracePacket* const to = packet();
        to->set_sequence_flags(sequence_needed);
        to->set_timestamp(sample.time_ns);
        to->set_timestamp_clock_id(protos::BUILTIN_CLOCK_MONOTONIC);
        auto* const seen = to->mutable_perf_sample();
        seen->set_cpu(static_cast<std::uint32_t>(vcpu));
        seen->set_pid(static_cast<std::uint32_t>(guest_process_id));
        seen->set_tid(static_cast<std::uint32_t>(thread_of(vcpu)));
        seen->set_callstack_iid(sample.stack + 1);
        write();
      }
    }
  }

  void counter(const CounterValue& counter) {
    event(counter.track, counter.time_ns, protos::TrackEvent::TYPE_COUNTER)
        ->set_counter_value(static_cast<std::int64_t>(counter.value));
    write();
  }

 private:
  // What puts times of this trace beside those that others took on the same host: Linux's tracing
  // and Perfetto count from boot, suspended time included.
  void clocks(const abi::TraceHeader& header) {
    protos::TracePacket* const to = packet();
    to->set_sequence_flags(sequence_cleared);
    auto* const snapshot = to->mutable_clock_snapshot();
    const auto add = [snapshot](protos::BuiltinClock clock, std::uint64_t time_ns) {
      auto* const reading = snapshot->add_clocks();
      reading->set_clock_id(static_cast<std::uint32_t>(clock));
      reading->set_timestamp(time_ns);
    };
    add(protos::BUILTIN_CLOCK_MONOTONIC, header.start_ns);
    add(protos::BUILTIN_CLOCK_REALTIME, header.start_realtime_ns);
    if (header.start_boottime_ns != 0) {
      add(protos::BUILTIN_CLOCK_BOOTTIME, header.start_boottime_ns);
    } else {
      // The default is the time since boot, which this trace does not know.
      snapshot->set_primary_trace_clock(protos::BUILTIN_CLOCK_MONOTONIC);
    }
    write();
  }

  [[nodiscard]] static std::int32_t thread_of(std::size_t vcpu) {
    return guest_process_id + 1 + static_cast<std::int32_t>(vcpu);
  }
  // Each a packet of its own: none becomes large.
  void intern(const ProfileSamples& samples) {
    if (samples.frames.empty()) {
      return;
    }
    const auto add = [this] {
      protos::TracePacket* const to = packet();
      to->set_sequence_flags(sequence_needed);
      return to->mutable_interned_data();
    };
    constexpr std::uint64_t only = 1; // viewers want code to be of a file
    auto* const data = add();
    auto* const path = data->add_mapping_paths();
    path->set_iid(only);
    path->set_str("guest");
    auto* const mapping = data->add_mappings();
    mapping->set_iid(only);
    mapping->add_path_string_ids(only);
    write();
    for (std::size_t number = 0; number < samples.frames.size(); ++number) {
      auto* const added = add();
      auto* const name = added->add_function_names();
      name->set_iid(number + 1);
      name->set_str(samples.frames[number]);
      auto* const frame = added->add_frames();
      frame->set_iid(number + 1);
      frame->set_function_name_id(number + 1);
      frame->set_mapping_id(only);
      frame->set_rel_pc(number + 1); // frames are told apart by it
      write();
    }
    for (std::size_t number = 0; number < samples.stacks.size(); ++number) {
      auto* const stack = add()->add_callstacks();
      stack->set_iid(number + 1);
      for (const std::size_t frame : samples.stacks[number]) {
        stack->add_frame_ids(frame + 1);
      }
      write();
    }
  }

  protos::TracePacket* packet() {
    trace_.Clear();
    protos::TracePacket* const added = trace_.add_packet();
    added->set_trusted_packet_sequence_id(sequence_id);
    return added;
  }
  protos::TrackEvent* event(TrackId track, std::uint64_t time_ns, protos::TrackEvent::Type type) {
    protos::TracePacket* const to = packet();
    to->set_timestamp(start_ns_ + time_ns);
    to->set_timestamp_clock_id(protos::BUILTIN_CLOCK_MONOTONIC);
    auto* const shown = to->mutable_track_event();
    shown->set_track_uuid(uuid_of(track));
    shown->set_type(type);
    return shown;
  }
  // `what`: a Slice or an Instant.
  static void describe(protos::TrackEvent* shown, const auto& what) {
    shown->set_name(what.name);
    shown->add_categories("hint");
    if (what.flow.id != 0 && what.flow.step == Flow::Step::ends) {
      shown->add_terminating_flow_ids(what.flow.id);
    } else if (what.flow.id != 0) {
      shown->add_flow_ids(what.flow.id);
    }
    if (what.bytes != 0) {
      auto* const annotation = shown->add_debug_annotations();
      annotation->set_name("bytes");
      annotation->set_uint_value(what.bytes);
    }
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

void export_perfetto(const TraceSource& source, const ProfileSamples& samples,
                     const ByteSink& sink) {
  Writer writer(sink, source.header());
  writer.profile(samples);
  make_timeline(source,
                {.track = [&writer](const Track& track) { writer.track(track); },
                 .slice = [&writer](const Slice& slice) { writer.slice(slice); },
                 .instant = [&writer](const Instant& instant) { writer.instant(instant); },
                 .counter = [&writer](const CounterValue& value) { writer.counter(value); }});
}

} // namespace hvtrace
