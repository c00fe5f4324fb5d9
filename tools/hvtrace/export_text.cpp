// SPDX-License-Identifier: MIT
// The exports that are text: Chrome's JSON and CSV.
#include "tools/hvtrace/export.hpp"

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "tools/hvtrace/columns.hpp"
#include "tools/hvtrace/timeline.hpp"
#include "vmm/base/append_text.hpp"
#include "vmm/base/json.hpp"
#include "vmm/trace/event_text.hpp"

namespace hvtrace {
namespace {

using vmm::Json;

// Chrome knows threads: one for each track, by kind and number. vCPUs come first, then what waits
// for the host, then the host.
constexpr std::uint32_t threads_of_a_kind = 1'000'000;

std::uint32_t thread_of(TrackId id) {
  return static_cast<std::uint32_t>(id.kind) * threads_of_a_kind + id.number;
}

double microseconds(std::uint64_t ns) {
  return static_cast<double>(ns) / 1000;
}

// The elements of the array "traceEvents", as they come. Times are those of the host's monotonic
// clock, as Chrome's own are on Linux.
class ChromeWriter {
 public:
  ChromeWriter(const ByteSink& sink, const abi::TraceHeader& header)
      : sink_(sink), header_(header), out_("{\"traceEvents\":[") {
    metadata("process_name", 0, {{"name", "guest"}});
  }
  ChromeWriter(const ChromeWriter&) = delete;
  ChromeWriter& operator=(const ChromeWriter&) = delete;
  ~ChromeWriter() {
    // The clocks at one moment, for who wants to put another trace of the host beside this one.
    const Json readings{{"clock-domain", "LINUX_CLOCK_MONOTONIC"},
                        {"start-monotonic-ns", header_.start_ns},
                        {"start-boottime-ns", header_.start_boottime_ns != 0
                                                  ? Json(header_.start_boottime_ns)
                                                  : Json(nullptr)},
                        {"start-realtime-ns", header_.start_realtime_ns}};
    sink_(out_ + "\n]" + profile_ + ",\"displayTimeUnit\":\"ns\",\"metadata\":" + readings.line() +
          "}\n");
  }

  void track(const Track& track) {
    if (track.id.kind == TrackId::Kind::counter) {
      counters_[track.id.number] = track.name;
      return;
    }
    metadata("thread_name", thread_of(track.id), {{"name", track.name}});
    metadata("thread_sort_index", thread_of(track.id), {{"sort_index", thread_of(track.id)}});
  }

  // Finished ones as complete events: beginning and duration in one.
  void slice(const Slice& slice) {
    Json json = event(slice.end_ns ? "X" : "B", slice.track, slice.begin_ns);
    if (slice.end_ns) {
      json["dur"] = microseconds(*slice.end_ns - slice.begin_ns);
    }
    describe(json, slice);
    write(json);
    flow(slice.flow, slice.track, slice.begin_ns);
  }

  void instant(const Instant& instant) {
    Json json = event("i", instant.track, instant.time_ns);
    json["s"] = "t";
    describe(json, instant);
    write(json);
    flow(instant.flow, instant.track, instant.time_ns);
  }

  // Stacks as a tree of frames, each the child of its caller, and samples that name the innermost.
  void profile(const ProfileSamples& samples) {
    if (samples.frames.empty()) {
      return;
    }
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> nodes; // by parent and frame
    std::vector<std::size_t> innermost;
    profile_ = ",\"stackFrames\":{";
    for (const auto& stack : samples.stacks) {
      std::size_t parent = 0; // none
      for (const std::size_t frame : stack) {
        const auto [known, is_new] = nodes.try_emplace({parent, frame}, nodes.size() + 1);
        if (is_new) {
          Json json{{"category", "guest"}, {"name", samples.frames[frame]}};
          if (parent != 0) {
            json["parent"] = std::to_string(parent);
          }
          vmm::append_text(profile_, "{}\n\"{}\":{}", nodes.size() == 1 ? "" : ",", known->second,
                           json.line());
        }
        parent = known->second;
      }
      innermost.push_back(parent);
    }
    profile_ += "\n},\"samples\":[";
    bool is_first = true;
    for (std::size_t vcpu = 0; vcpu < samples.vcpus.size(); ++vcpu) {
      const std::uint32_t thread =
          thread_of({TrackId::Kind::vcpu, static_cast<std::uint32_t>(vcpu)});
      for (const ProfileSamples::Sample& sample : samples.vcpus[vcpu]) {
        const Json json{{"cpu", vcpu},
                        {"tid", thread},
                        {"ts", microseconds(sample.time_ns)},
                        {"name", "profile"},
                        {"sf", std::to_string(innermost[sample.stack])},
                        {"weight", 1}};
        profile_ += is_first ? "\n" : ",\n";
        profile_ += json.line();
        is_first = false;
      }
    }
    profile_ += "\n]";
  }

  void counter(const CounterValue& counter) {
    Json json = event("C", counter.track, counter.time_ns);
    json["name"] = counters_.at(counter.track.number);
    json["args"] = {{"value", counter.value}};
    write(json);
  }

 private:
  [[nodiscard]] Json event(const char* phase, TrackId track, std::uint64_t time_ns) const {
    return {{"ph", phase},
            {"ts", microseconds(header_.start_ns + time_ns)},
            {"pid", guest_process_id},
            {"tid", thread_of(track)}};
  }
  void metadata(const char* name, std::uint32_t thread, const Json& arguments) {
    write({{"name", name},
           {"ph", "M"},
           {"pid", guest_process_id},
           {"tid", thread},
           {"args", arguments}});
  }
  // `what`: a Slice or an Instant.
  static void describe(Json& json, const auto& what) {
    json["name"] = what.name;
    json["cat"] = "hint";
    if (what.bytes != 0) {
      json["args"] = {{"bytes", what.bytes}};
    }
  }
  // Binds to the slice of its track that its time lies in.
  void flow(const Flow& flow, TrackId track, std::uint64_t time_ns) {
    if (flow.id == 0) {
      return;
    }
    static constexpr std::array<const char*, 3> phases{"s", "t", "f"};
    Json json = event(phases.at(static_cast<std::size_t>(flow.step)), track, time_ns);
    json["name"] = "batch";
    json["cat"] = "hint";
    json["id"] = fmt::format("{:#x}", flow.id);
    json["bp"] = "e";
    write(json);
  }
  void write(const Json& json) {
    out_ += first_ ? "\n" : ",\n";
    first_ = false;
    out_ += json.line();
    if (out_.size() >= piece_bytes) {
      sink_(out_);
      out_.clear();
    }
  }

  const ByteSink& sink_;
  const abi::TraceHeader& header_;
  std::string out_;
  std::string profile_; // behind the events
  bool first_ = true;
  std::map<std::uint32_t, std::string> counters_; // names, by number
};

} // namespace

void export_chrome(const TraceSource& source, const ProfileSamples& samples, const ByteSink& sink) {
  ChromeWriter writer(sink, source.header());
  writer.profile(samples);
  make_timeline(source,
                {.track = [&writer](const Track& track) { writer.track(track); },
                 .slice = [&writer](const Slice& slice) { writer.slice(slice); },
                 .instant = [&writer](const Instant& instant) { writer.instant(instant); },
                 .counter = [&writer](const CounterValue& value) { writer.counter(value); }});
}

void export_csv(const TraceSource& source, const ByteSink& sink) {
  const EventText text(source.header(), nullptr);
  std::string out;
  for (const Column& column : csv_columns()) {
    vmm::append_text(out, "{}{}", out.empty() ? "" : ",", column.name);
  }
  out += "\n";
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      vmm::append_text(out, "{},{},{},{},{},{},{},{},{},{}\n", record->sequence, record->time_ns,
                       text.name(record->event), record->channel, record->address, record->value,
                       record->count, record->order, record->detail, detail_name(*record));
    }
    if (out.size() >= piece_bytes) {
      sink(out);
      out.clear();
    }
  }
  sink(out);
}

} // namespace hvtrace
