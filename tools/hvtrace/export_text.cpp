// SPDX-License-Identifier: MIT
// The exports that are text: Chrome's JSON and CSV.
#include "tools/hvtrace/export.hpp"

#include <array>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tools/hvtrace/timeline.hpp"
#include "vmm/base/json.hpp"
#include "vmm/trace/event_text.hpp"

namespace hvtrace {
namespace {

using vmm::Json;

constexpr std::size_t piece_bytes = std::size_t{64} << 10;
constexpr std::uint32_t first_lane_thread = 1000; // vCPUs come before

std::uint32_t thread_of(Track::Kind kind, std::uint32_t number) {
  return kind == Track::Kind::lane ? first_lane_thread + number : number;
}

// The elements of the array "traceEvents", as they come.
class ChromeWriter {
 public:
  explicit ChromeWriter(const ByteSink& sink) : sink_(sink), out_("{\"traceEvents\":[") {}
  ChromeWriter(const ChromeWriter&) = delete;
  ChromeWriter& operator=(const ChromeWriter&) = delete;
  ~ChromeWriter() { sink_(out_ + "\n]}\n"); }

  void track(const Track& track) {
    if (track.kind == Track::Kind::counter) {
      counters_.push_back(track.name);
      return;
    }
    write({{"name", "thread_name"},
           {"ph", "M"},
           {"pid", 1},
           {"tid", thread_of(track.kind, track.number)},
           {"args", {{"name", track.name}}}});
  }

  void event(const TimelineEvent& event) {
    static constexpr std::array<const char*, 4> phases{"B", "E", "i", "C"};
    Json json{{"ph", phases[static_cast<std::size_t>(event.kind)]},
              {"ts", static_cast<double>(event.time_ns) / 1000},
              {"pid", 1},
              {"tid", thread_of(event.track, event.track_number)}};
    if (event.kind == TimelineEvent::Kind::counter) {
      json["name"] = counters_.at(event.track_number);
      json["args"] = {{"value", event.value}};
    } else if (!event.name.empty()) {
      json["name"] = event.name;
      json["cat"] = "hint";
    }
    if (event.kind == TimelineEvent::Kind::instant) {
      json["s"] = "t";
    }
    if (event.bytes != 0) {
      json["args"] = {{"bytes", event.bytes}};
    }
    write(json);
    if (event.flow != 0) {
      const bool starts = event.name.starts_with("submit");
      write({{"ph", starts            ? "s"
                    : event.flow_ends ? "f"
                                      : "t"},
             {"name", "batch"},
             {"cat", "hint"},
             {"id", fmt::format("{:#x}", event.flow)},
             {"bp", "e"},
             {"ts", json["ts"]},
             {"pid", 1},
             {"tid", json["tid"]}});
    }
  }

 private:
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
  std::string out_;
  bool first_ = true;
  std::vector<std::string> counters_;
};

} // namespace

void export_chrome(const TraceSource& source, const ByteSink& sink) {
  ChromeWriter writer(sink);
  make_timeline(source, {.track = [&writer](const Track& track) { writer.track(track); },
                         .event = [&writer](const TimelineEvent& event) { writer.event(event); }});
}

void export_csv(const TraceSource& source, const ByteSink& sink) {
  const EventText text(source.header(), nullptr);
  TextBuffer out;
  fmt::format_to(std::back_inserter(out),
                 "number,time_ns,event,channel,address,value,count,order,detail,name\n");
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{},{},{}\n", record->sequence,
                     record->time_ns, text.name(record->event), record->channel, record->address,
                     record->value, record->count, record->order, record->detail,
                     detail_name(*record));
    }
    if (out.size() >= piece_bytes) {
      sink({out.data(), out.size()});
      out.clear();
    }
  }
  sink({out.data(), out.size()});
}

} // namespace hvtrace
