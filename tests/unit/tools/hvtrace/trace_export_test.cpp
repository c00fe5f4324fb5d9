// SPDX-License-Identifier: MIT
#include "tools/hvtrace/export.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/diff.hpp"
#include "tools/hvtrace/list.hpp"
#include "tools/hvtrace/perfetto.pb.h"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/trace/why.hpp"

using hvtrace::TraceFile;

namespace {

class Trace {
 public:
  explicit Trace(std::vector<abi::TraceRecord> records = test_support::orderly_run())
      : bytes_(
            test_support::trace_bytes(test_support::trace_header(abi::TraceLevel::all), records)),
        file_(std::move(*TraceFile::parse(bytes_, "t"))) {}
  [[nodiscard]] const TraceFile& file() const { return file_; }

 private:
  std::vector<std::byte> bytes_;
  TraceFile file_;
};

using Exporter = void (*)(const hvtrace::TraceSource&, const hvtrace::ProfileSamples&,
                          const hvtrace::ByteSink&);

std::string exported(Exporter how, const hvtrace::ProfileSamples& samples = {}) {
  const Trace trace;
  std::string out;
  how(trace.file(), samples, [&out](std::string_view piece) { out += piece; });
  return out;
}

// Two vCPUs, which were seen in main, in what it calls, and idle.
hvtrace::ProfileSamples some_samples() {
  return {.frames = {"main", "work (a.cpp:12)", "[idle]"},
          .stacks = {{0}, {0, 1}, {2}},
          .vcpus = {{{100, 0}, {200, 1}, {300, 1}}, {{150, 2}}}};
}

} // namespace

TEST_CASE("export: perfetto has balanced slices on known tracks and whole flows") {
  namespace protos = perfetto::protos;
  protos::Trace trace;
  REQUIRE(trace.ParseFromString(exported(hvtrace::export_perfetto)));
  std::set<std::uint64_t> tracks;
  std::map<std::uint64_t, int> open;
  std::map<std::uint64_t, int> flows;
  std::map<std::uint64_t, int> ended;
  for (const protos::TracePacket& packet : trace.packet()) {
    CHECK(packet.trusted_packet_sequence_id() != 0);
    if (packet.has_track_descriptor()) {
      CHECK(tracks.insert(packet.track_descriptor().uuid()).second);
      continue;
    }
    if (packet.has_clock_snapshot()) {
      continue;
    }
    const protos::TrackEvent& event = packet.track_event();
    CHECK(tracks.contains(event.track_uuid()));
    open[event.track_uuid()] += event.type() == protos::TrackEvent::TYPE_SLICE_BEGIN ? 1
                                : event.type() == protos::TrackEvent::TYPE_SLICE_END ? -1
                                                                                     : 0;
    CHECK(open[event.track_uuid()] >= 0);
    for (const std::uint64_t flow : event.flow_ids()) {
      ++flows[flow];
    }
    for (const std::uint64_t flow : event.terminating_flow_ids()) {
      ++ended[flow];
    }
  }
  for (const auto& [track, depth] : open) {
    CHECK(depth == 0);
  }
  CHECK(flows.size() == 2);
  for (const auto& [flow, steps] : flows) {
    CHECK(steps == 3); // submission, discard, answer
    CHECK(ended[flow] == 1);
  }
}

TEST_CASE("export: protobuf's own decoder knows every field of it") {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("ebb-perfetto-{}", ::getpid());
  {
    std::ofstream file(path, std::ios::binary);
    file << exported(hvtrace::export_perfetto);
  }
  const std::string command =
      "protoc --decode=perfetto.protos.Trace tools/hvtrace/perfetto.proto < " + path.string();
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 4096> piece{};
  for (std::size_t count = 0; (count = std::fread(piece.data(), 1, piece.size(), pipe)) != 0;) {
    text.append(piece.data(), count);
  }
  CHECK(::pclose(pipe) == 0);
  std::filesystem::remove(path);
  CHECK(text.find("type: TYPE_SLICE_BEGIN") != std::string::npos);
  CHECK(text.find("name: \"discard batch 1\"") != std::string::npos);
  CHECK(text.find("terminating_flow_ids:") != std::string::npos);
  // Fields that are not in the schema would show as bare numbers.
  CHECK(text.find("\n    1: ") == std::string::npos);
  CHECK(text.find("\n  1: ") == std::string::npos);
}

TEST_CASE("export: chrome is JSON with every flow started and ended") {
  const auto json = nlohmann::json::parse(exported(hvtrace::export_chrome));
  std::map<std::string, std::string> flows;
  for (const auto& event : json.at("traceEvents")) {
    const std::string phase = event.at("ph");
    if (phase == "s" || phase == "t" || phase == "f") {
      flows[event.at("id")] += phase;
    }
  }
  CHECK(flows.size() == 2);
  for (const auto& [id, phases] : flows) {
    CHECK(phases == "sttf");
  }
}

TEST_CASE("export: perfetto has the samples of a profile, with stacks by number") {
  namespace protos = perfetto::protos;
  protos::Trace trace;
  REQUIRE(trace.ParseFromString(exported(hvtrace::export_perfetto, some_samples())));
  std::map<std::uint64_t, std::string> names;
  std::map<std::uint64_t, std::uint64_t> name_of_frame;
  std::map<std::uint64_t, std::vector<std::uint64_t>> stacks;
  std::map<std::uint32_t, std::string> threads;
  std::set<std::uint64_t> mappings;
  std::vector<std::string> seen;
  for (const protos::TracePacket& packet : trace.packet()) {
    for (const auto& name : packet.interned_data().function_names()) {
      names[name.iid()] = name.str();
    }
    for (const auto& mapping : packet.interned_data().mappings()) {
      mappings.insert(mapping.iid());
    }
    for (const auto& frame : packet.interned_data().frames()) {
      CHECK(mappings.contains(frame.mapping_id()));
      name_of_frame[frame.iid()] = frame.function_name_id();
    }
    for (const auto& stack : packet.interned_data().callstacks()) {
      stacks[stack.iid()] = {stack.frame_ids().begin(), stack.frame_ids().end()};
    }
    if (packet.track_descriptor().has_thread()) {
      const auto& thread = packet.track_descriptor().thread();
      threads[static_cast<std::uint32_t>(thread.tid())] = thread.thread_name();
    }
    if (packet.has_perf_sample()) {
      CHECK(packet.sequence_flags() == 2); // needs what is interned
      CHECK(packet.timestamp_clock_id() == protos::BUILTIN_CLOCK_MONOTONIC);
      std::string text =
          std::to_string(packet.timestamp()) + " " + threads.at(packet.perf_sample().tid());
      for (const std::uint64_t frame : stacks.at(packet.perf_sample().callstack_iid())) {
        text += ";" + names.at(name_of_frame.at(frame));
      }
      seen.push_back(text);
    }
  }
  CHECK(seen == std::vector<std::string>{
                    "100 vcpu 0 profile;main", "200 vcpu 0 profile;main;work (a.cpp:12)",
                    "300 vcpu 0 profile;main;work (a.cpp:12)", "150 vcpu 1 profile;[idle]"});
}

TEST_CASE("export: chrome has the samples of a profile, and none without") {
  const auto json = nlohmann::json::parse(exported(hvtrace::export_chrome, some_samples()));
  std::vector<std::string> seen;
  for (const auto& sample : json.at("samples")) {
    std::string text;
    for (nlohmann::json frame = sample.at("sf"); !frame.is_null();) {
      const auto& what = json.at("stackFrames").at(frame.get<std::string>());
      text += ";" + what.at("name").get<std::string>();
      frame = what.value("parent", nlohmann::json());
    }
    seen.push_back(std::to_string(sample.at("cpu").get<int>()) + text);
    CHECK(sample.at("weight") == 1);
  }
  CHECK(json.at("samples")[0].at("ts") == 0.1);
  CHECK(seen == std::vector<std::string>{"0;main", "0;work (a.cpp:12);main",
                                         "0;work (a.cpp:12);main", "1;[idle]"});
  CHECK(!nlohmann::json::parse(exported(hvtrace::export_chrome)).contains("samples"));
}

TEST_CASE("export: csv has a line for each record") {
  const Trace trace;
  std::string text;
  hvtrace::export_csv(trace.file(), [&text](std::string_view piece) { text += piece; });
  CHECK(static_cast<std::size_t>(std::ranges::count(text, '\n')) ==
        test_support::orderly_run().size() + 1);
  CHECK(text.starts_with("number,time_ns,event,channel,address,value,count,order,detail,name\n"
                         "1,0,boot,0,0,67108864,1,0,0,\n"));
  CHECK(text.find(",range,0,8388608,1,0,9,0,hint\n") != std::string::npos);
  CHECK(text.find(",9,16,discarded\n") != std::string::npos);
}

TEST_CASE("list: lines carry what the trace's own table says") {
  const Trace trace;
  std::string out;
  const vmm::Symbols symbols;
  hvtrace::list(trace.file(), *hvtrace::Filter::parse("event=range and gpa=0xa12345"), symbols,
                [&out](std::string_view piece) { out += piece; });
  CHECK(std::ranges::count(out, '\n') == 2);
  CHECK(out.find("range          gpa=0xa00000 batch=1 index=1 order=9 kind=hint\n") !=
        std::string::npos);
}

TEST_CASE("why: tells the life of a page, and what it is now") {
  const Trace trace;
  const vmm::Symbols symbols;
  const std::string text = hvtrace::why(trace.file(), 0xa12345, symbols, 100);
  CHECK(text.starts_with("page 0xa12000\n"));
  CHECK(text.find("freed as 2 MiB block 0xa00000 on vCPU 0 by 0x4000ff") != std::string::npos);
  CHECK(text.find("hinted as part of 2 MiB block 0xa00000, range 1 of batch 1") !=
        std::string::npos);
  CHECK(text.find("answered: discarded") != std::string::npos);
  CHECK(text.find("the host had discarded it") != std::string::npos);
  CHECK(text.ends_with("=> free and given back: the host has discarded it\n"));
  CHECK(hvtrace::why(trace.file(), 0x2000000, symbols, 100)
            .ends_with("=> never handed out by the guest's allocator\n"));
  CHECK(hvtrace::why(trace.file(), 1 << 30, symbols, 100).find("not guest memory") !=
        std::string::npos);
}

TEST_CASE("why: what was declined goes with a span around it that is discarded") {
  const std::vector<std::uint64_t> blocks{8 << 20};
  for (const abi::Outcome span : {abi::Outcome::discarded, abi::Outcome::declined}) {
    test_support::TraceBuilder builder;
    builder.block(abi::TraceEvent::allocate, 8 << 20, 9);
    builder.block(abi::TraceEvent::free, 8 << 20, 9);
    builder.batch(1, 9, blocks, abi::Outcome::declined);
    builder.add({.address = 8 << 20,
                 .value = 2,
                 .event = abi::TraceEvent::outcome,
                 .order = 10,
                 .detail = abi::trace_detail(1, static_cast<std::uint8_t>(span))});
    const Trace trace(builder.finish());
    const std::string text = hvtrace::why(trace.file(), 0x812345, {}, 100);
    const bool gone = span == abi::Outcome::discarded;
    CHECK((text.find("discarded after all, with the span around it") != std::string::npos) == gone);
    CHECK((text.find("=> free and given back all the same") != std::string::npos) == gone);
    CHECK((text.find("=> free but resident") != std::string::npos) != gone);
  }
}

TEST_CASE("diff: equal runs are equal, and the first divergence is named") {
  const vmm::Symbols symbols;
  const Trace left;
  CHECK(hvtrace::diff(left.file(), symbols, left.file(), symbols).same);
  auto records = test_support::orderly_run();
  const auto answer =
      std::ranges::find(records, abi::TraceEvent::outcome, &abi::TraceRecord::event);
  answer->detail = abi::trace_detail(0, static_cast<std::uint8_t>(abi::Outcome::declined));
  const Trace right(records);
  const auto result = hvtrace::diff(left.file(), symbols, right.file(), symbols);
  CHECK_FALSE(result.same);
  CHECK(result.text.find("first divergence after") != std::string::npos);
  CHECK(result.text.find("outcome=declined") != std::string::npos);
}
