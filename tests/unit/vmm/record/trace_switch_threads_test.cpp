// SPDX-License-Identifier: MIT
// Traces that begin, end and go on in another file while records come from several threads.
#include "vmm/record/trace_switch.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/reporting/event_writer.hpp"
#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "tests/support/serve_channel.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/trace_series.hpp"
#include "vmm/hints/channel_server.hpp"

using namespace vmm;
using abi::TraceEvent;
using hvtrace::TraceFile;
using hvtrace::TraceSeries;
using test_support::TemporaryFolder;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{16} << 20;
constexpr std::uint64_t managed_start = std::uint64_t{4} << 20;

UniqueFd open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(fd.valid());
  return fd;
}

// A host that records when it is asked to, and a guest that tells of what it does.
class Host {
 public:
  Host()
      : memory_(*GuestMemory::create(ram_bytes, Backing::small_pages)),
        recorder_(TraceRecorder::create_idle({.level = abi::TraceLevel::all,
                                              .tsc_khz = 1'000'000,
                                              .image = "guest.bin",
                                              .guest_writes = true},
                                             memory_)),
        traces(*recorder_, std::nullopt, std::nullopt, TraceSwitch::Held::no),
        engine_(*DiscardEngine::create(memory_, {}, calls_)),
        processor_(ManagedRange{{managed_start}, {ram_bytes}}, std::move(engine_)),
        channel_(*memory_.object_at<abi::Channel>({EBB_CHANNEL_GPA})), server_(channel_),
        guest_(memory_.object_at<abi::EventRing>({EBB_EVENT_RING_GPA}), abi::TraceLevel::all) {
    server_.set_observer(recorder_.get(), 0);
    processor_.set_observer(recorder_.get(), 0);
    REQUIRE(recorder_->start());
    recorder_->negotiated({.features_accepted = abi::feature_report | abi::feature_trace,
                           .managed_start_gpa = managed_start});
    recorder_->host_mode(HostMode::sync, 0);
    recorder_->workload_begin();
  }
  ~Host() { end(); }

  // A block's whole life: allocated, freed, hinted, answered, the answer taken in.
  void round() {
    submit();
    recorder_->on_doorbell(0, 0);
    REQUIRE(test_support::serve(server_, processor_) == 1);
    drain();
  }
  void submit() {
    guest_.allocated(0, abi::to_pfn({managed_start}), {9}, id_ == 0 ? 0 : 512);
    guest_.freed(0, abi::to_pfn({managed_start}), {9});
    guest_.submitted(0, ++id_, 1);
    channel_.pages[0].ranges[0] =
        abi::RangeDescriptor::make(abi::to_pfn({managed_start}), {9}, abi::RangeKind::hint);
    channel_.rings.submissions[(id_ - 1) % abi::ring_entries] = {
        .batch_id = id_, .page = 0, .range_count = 1};
    channel_.rings.submit_tail = static_cast<std::uint32_t>(id_);
  }
  void serve() { REQUIRE(test_support::serve(server_, processor_) == 1); }
  void drain() {
    channel_.rings.complete_head = channel_.rings.complete_tail;
    guest_.drained(0, id_, 1);
  }

  Result<TraceState> start(const std::string& path) { return traces.start(open_file(path), path); }
  Result<TraceState> rotate(const std::string& path) {
    return traces.rotate(open_file(path), path);
  }
  void end() {
    if (!std::exchange(ended_, true)) {
      recorder_->workload_end();
      recorder_->stop({});
    }
  }
  TraceRecorder& recorder() { return *recorder_; }

 private:
  GuestMemory memory_;
  std::unique_ptr<TraceRecorder> recorder_;

 public:
  TraceSwitch traces;

 private:
  SystemDiscardCalls calls_;
  DiscardEngine engine_;
  BatchProcessor processor_;
  abi::Channel& channel_;
  ChannelServer server_;
  guest::mm::EventWriter guest_;
  std::uint64_t id_ = 0;
  bool ended_ = false;
};

// A trace that is whole by itself.
std::vector<TraceEvent> events_of(const std::string& path) {
  const auto file = TraceFile::open(path);
  REQUIRE_MESSAGE(file, file.error().message);
  CHECK(file->finished());
  const auto result = hvtrace::check(*file);
  CHECK(result.violation_count == 0);
  for (const auto& violation : result.violations) {
    MESSAGE(violation.number, ": ", violation.text);
  }
  CHECK_FALSE(result.incomplete);
  std::vector<TraceEvent> events;
  for (std::uint64_t number = 1; number < file->end(); ++number) {
    REQUIRE(file->at(number));
    events.push_back(file->at(number)->event);
  }
  return events;
}

} // namespace

TEST_CASE("trace switch: a trace that starts in the middle tells what holds, and checks") {
  const TemporaryFolder dir;
  Host host;
  host.round(); // nobody hears of it
  CHECK_FALSE(host.traces.state());
  REQUIRE(host.start(dir / "a"));
  CHECK(host.traces.state()->records.kept_records == 3);
  host.round();
  const auto stopped = host.traces.stop();
  REQUIRE(stopped);
  CHECK(stopped->name == dir / "a");
  CHECK(stopped->records.why.empty());
  host.round(); // nor of this
  const auto events = events_of(dir / "a");
  CHECK(events == std::vector{TraceEvent::continued, TraceEvent::negotiated, TraceEvent::mode,
                              TraceEvent::allocate, TraceEvent::free, TraceEvent::submit,
                              TraceEvent::doorbell, TraceEvent::batch, TraceEvent::range,
                              TraceEvent::discard_begin, TraceEvent::discard_end,
                              TraceEvent::outcome, TraceEvent::answer, TraceEvent::drain,
                              TraceEvent::end});
  CHECK(stopped->records.kept_records == events.size());
  const auto file = TraceFile::open(dir / "a");
  CHECK(hvtrace::check(*file).guest_complete);
  CHECK(file->at(events.size())->detail == static_cast<int>(abi::TraceEnd::stopped));
  // Another one, at the end of which the guest ends.
  REQUIRE(host.start(dir / "b"));
  host.round();
  host.end();
  CHECK(events_of(dir / "b").size() == events.size() + 1); // workload_end
  const auto later = TraceFile::open(dir / "b");
  CHECK(later->at(1)->value == events.size());
  CHECK(later->at(1)->count == 1);
  CHECK_FALSE(TraceSeries::open({dir / "a", dir / "b"}));
}

TEST_CASE("trace switch: a batch is rotated away at each moment of its life") {
  const TemporaryFolder dir;
  Host host;
  REQUIRE(host.start(dir / "0"));
  host.round();
  REQUIRE(host.rotate(dir / "1"));
  host.submit();
  REQUIRE(host.rotate(dir / "2"));
  host.serve();
  const auto rotated = host.rotate(dir / "3");
  REQUIRE(rotated);
  CHECK(rotated->name == dir / "2");
  host.drain();
  host.round();
  host.end();
  std::vector<std::string> parts;
  for (const char* const name : {"0", "1", "2", "3"}) {
    events_of(dir / name);
    parts.push_back(dir / name);
  }
  const auto series = TraceSeries::open(parts);
  REQUIRE(series);
  const auto whole = hvtrace::check(*series);
  CHECK(whole.violation_count == 0);
  CHECK(whole.guest_complete);
  CHECK(TraceSeries::open({dir / "1", dir / "2"}));
  for (const auto& wrong : {std::vector{dir / "0", dir / "2"}, std::vector{dir / "1", dir / "0"},
                            std::vector{dir / "2", dir / "2"}}) {
    const auto refused = TraceSeries::open(wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message == wrong[1] + ": does not go on where " + wrong[0] + " ends");
  }
}

TEST_CASE("trace switch: what several threads record while it rotates is in one file or the next") {
  constexpr unsigned threads = 3;
  constexpr std::uint64_t most = 100'000; // all of them have room in one file
  const TemporaryFolder dir;
  Host host;
  REQUIRE(host.start(dir / "0"));
  std::atomic<bool> done{false};
  std::array<std::uint64_t, threads> counts{};
  std::vector<std::thread> writers;
  for (unsigned thread = 0; thread < threads; ++thread) {
    writers.emplace_back([&host, &done, &count = counts.at(thread), thread] {
      while (!done || count < 1000) {
        if (count < most) {
          host.recorder().hypercall(thread, abi::Hypercall::wait, count++);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::vector<std::string> parts{dir / "0"};
  for (int part = 1; part <= 10; ++part) {
    parts.push_back(dir / std::to_string(part).c_str());
    REQUIRE(host.rotate(parts.back()));
  }
  done = true;
  for (std::thread& writer : writers) {
    writer.join();
  }
  host.end();
  const auto series = TraceSeries::open(parts);
  REQUIRE_MESSAGE(series, series.error().message);
  CHECK(series->finished());
  std::array<std::uint64_t, threads> next{};
  for (std::uint64_t number = 1; number < series->end(); ++number) {
    const auto record = series->at(number);
    REQUIRE(record);
    REQUIRE(record->sequence == number);
    if (record->event == TraceEvent::hypercall) {
      REQUIRE(record->address == next.at(record->channel)++);
    }
  }
  CHECK(next == counts);
  CHECK(hvtrace::check(*series).violation_count == 0);
}

TEST_CASE("trace switch: misuse is answered, and what is recorded goes on") {
  const TemporaryFolder dir;
  Host host;
  const auto why = [](const Result<TraceState>& result) {
    return result ? std::string("done") : result.error().message;
  };
  CHECK(why(host.traces.stop()) == "trace stop: nothing is being recorded");
  CHECK(why(host.rotate(dir / "x")) == "trace rotate: nothing is being recorded");
  CHECK(why(host.traces.start({}, "a")) ==
        "trace start: a: no open file came with the request; ebbctl hands one over");
  CHECK(why(host.traces.start({}, "")) == "trace start: into which file? write trace start FILE");
  REQUIRE(host.start(dir / "a"));
  CHECK(why(host.start(dir / "b")) ==
        "trace start: " + (dir / "a") + " is being recorded; rotate or stop it");
  CHECK(why(host.traces.rotate({}, "b")).starts_with("trace rotate: b: no open file"));
  // The file itself, opened anew or handed over twice.
  CHECK(why(host.rotate(dir / "a")).ends_with("/a: is what is being recorded; name another file"));
  CHECK(why(host.traces.rotate({}, "")) ==
        "trace rotate: into which file? write trace rotate FILE");
  const UniqueFd twice = open_file(dir / "c");
  CHECK(host.traces.rotate(UniqueFd(::dup(twice.get())), "c"));
  CHECK(why(host.traces.rotate(UniqueFd(::dup(twice.get())), "c")) ==
        "trace rotate: c: is what is being recorded; name another file");
  // No room: the older trace at that place stays, too.
  REQUIRE(host.rotate(dir / "d"));
  const auto before = TraceFile::open(dir / "a")->end();
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit narrow{1 << 20, limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &narrow) == 0);
  CHECK(why(host.rotate(dir / "a")).ends_with("no room for 16 MiB: File too large"));
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(TraceFile::open(dir / "a")->end() == before);
  host.round();
  host.end();
  CHECK(events_of(dir / "d").size() > 10);
  CHECK(why(host.traces.stop()) == "the guest has ended");
  CHECK_FALSE(host.traces.state());
}

TEST_CASE("trace switch: a file that was named before the run, and one that is the stepper's") {
  const TemporaryFolder dir;
  const auto memory = GuestMemory::create(ram_bytes, Backing::small_pages);
  const auto recorder = TraceRecorder::create_idle({.tsc_khz = 1'000'000}, *memory);
  REQUIRE(recorder->start());
  {
    auto own = TraceTarget::open(dir / "t");
    REQUIRE(own->publish().has_value());
    TraceSwitch traces(*recorder, dir / "t", std::move(*own), TraceSwitch::Held::no);
    CHECK_FALSE(traces.state());
    const auto started = traces.start({}, "");
    REQUIRE(started);
    CHECK(started->name == dir / "t");
    REQUIRE(traces.stop());
    events_of(dir / "t");
    CHECK_FALSE(traces.start({}, "")); // once
  }
  TraceSwitch held(*recorder, std::nullopt, std::nullopt, TraceSwitch::Held::by_stepper);
  CHECK(held.start(open_file(dir / "u"), "u").error().message ==
        "trace start: with --step the trace is the stepper's");
  recorder->stop({});
}

TEST_CASE("trace thread: work that is asked for while it ends is done or refused") {
  for (int round = 0; round < 200; ++round) {
    TraceThread worker;
    std::atomic<int> done{0};
    std::atomic<bool> asked{false};
    REQUIRE(worker.start(std::chrono::microseconds(10), [] { return TraceThread::Next::soon; }));
    std::thread asker([&] {
      int answered = 0;
      while (worker.run([&done] { ++done; })) {
        ++answered;
        asked = true;
      }
      CHECK(done == answered);
    });
    while (!asked) {
      std::this_thread::yield();
    }
    worker.stop();
    asker.join();
  }
  TraceThread never;
  CHECK_FALSE(never.run([] {}));
}
