// SPDX-License-Identifier: MIT
// The recorder behind a whole hint service with workers and an adversarial plan: each fault is in
// the trace under its name, each processor has a lane of its own, and what comes of it checks.
#include <sys/eventfd.h>

#include <atomic>
#include <bit>
#include <map>
#include <set>
#include <thread>

#include <doctest/doctest.h>

#include "guest/mm/reporting/event_writer.hpp"
#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "tests/support/temporary_path.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/list.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/hints/adversary/adversary.hpp"
#include "vmm/hints/hint_service.hpp"
#include "vmm/record/trace_recorder.hpp"

using namespace vmm;
using abi::TraceEvent;
using abi::TraceFault;
using hvtrace::TraceFile;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{16} << 20;
constexpr std::uint64_t managed_start = std::uint64_t{8} << 20;
constexpr std::uint64_t features = abi::feature_report | abi::feature_trace | abi::feature_async;

// A recorded host, and the guest's side of one channel driven by hand.
class Recorded {
 public:
  // A synchronous host without workers.
  explicit Recorded(unsigned workers, const FaultOptions& faults = {},
                    abi::TraceLevel level = abi::TraceLevel::ranges)
      : path_("recorder-faults"), memory_(*GuestMemory::create(ram_bytes, Backing::small_pages)),
        recorder_(*TraceRecorder::create(std::move(*TraceTarget::open(path_.text())),
                                         {.level = level, .tsc_khz = 1'000'000, .host = "async"},
                                         memory_)),
        service_(start(workers, faults)),
        channel_(*memory_.object_at<abi::Channel>({EBB_CHANNEL_GPA})),
        guest_(memory_.object_at<abi::EventRing>({EBB_EVENT_RING_GPA}), level) {
    const abi::GuestHello hello{.features_accepted = features, .managed_start_gpa = managed_start};
    REQUIRE(recorder_->begin().has_value());
    recorder_->boot();
    recorder_->negotiated(hello);
    REQUIRE(service_->make_threads({}));
    service_->configure(hello, HintCheck::off);
    recorder_->host_mode(service_->mode(), workers);
    recorder_->workload_begin();
  }

  // A batch of `ranges` pages on descriptor page `page`.
  void submit(std::uint64_t id, std::uint32_t page, std::uint32_t ranges = 4) {
    for (std::uint32_t range = 0; range < ranges; ++range) {
      channel_.pages[page].ranges[range] = abi::RangeDescriptor::make(
          abi::to_pfn(
              {managed_start + (std::uint64_t{page} * 64 + 2 * std::uint64_t{range}) * 4096}),
          {0}, abi::RangeKind::hint);
    }
    guest_.submitted(0, id, ranges);
    channel_.rings.submissions[tail_ % abi::ring_entries] = {id, page, ranges};
    std::atomic_ref(channel_.rings.submit_tail).store(++tail_, std::memory_order_seq_cst);
    REQUIRE(::eventfd_write(service_->doorbell_fd(0), 1) == 0);
  }
  void await_answers(std::uint32_t count) const {
    while (std::atomic_ref(channel_.rings.complete_tail).load() < count) {
      std::this_thread::yield();
    }
  }
  // As the guest does with every answer that is there; its pages are handed out again.
  void drain() {
    const std::uint32_t tail = std::atomic_ref(channel_.rings.complete_tail).load();
    for (; drained_ != tail; ++drained_) {
      const abi::CompletionEntry& answer =
          channel_.rings.completions[drained_ % abi::completion_entries];
      if (drained_ids_.insert(answer.batch_id).second) { // not a repeated one
        guest_.drained(0, answer.batch_id, answer.range_count);
        for (std::uint32_t range = 0; range < answer.range_count; ++range) {
          guest_.allocated(0, channel_.pages[answer.page].ranges[range].pfn(), {0}, 1);
        }
      }
    }
    std::atomic_ref(channel_.rings.complete_head).store(drained_, std::memory_order_release);
  }
  void quarantine(std::uint64_t id) { guest_.quarantined(0, id); }
  HintService& service() { return *service_; }
  TraceRecorder& recorder() { return *recorder_; }

  TraceFile finish() {
    recorder_->workload_end();
    service_->stop();
    recorder_->stop({});
    auto file = TraceFile::open(path_.text());
    REQUIRE(file);
    return std::move(*file);
  }

 private:
  std::unique_ptr<HintService> start(unsigned workers, const FaultOptions& faults) {
    std::unique_ptr<Adversary> adversary;
    if (faults.any()) {
      adversary = *Adversary::create(memory_, 1, {.faults = faults}, calls_, {});
    }
    const HintServiceOptions options{.mode = workers == 0 ? HostMode::sync : HostMode::async,
                                     .workers = workers};
    return *HintService::create(memory_, 1, options, calls_, {}, std::move(adversary),
                                recorder_.get());
  }

  test_support::TemporaryPath path_;
  GuestMemory memory_;
  SystemDiscardCalls calls_;
  std::unique_ptr<TraceRecorder> recorder_;
  std::unique_ptr<HintService> service_;
  abi::Channel& channel_;
  guest::mm::EventWriter guest_;
  std::uint32_t tail_ = 0;
  std::uint32_t drained_ = 0;
  std::set<std::uint64_t> drained_ids_;
};

std::map<TraceFault, unsigned> faults_of(const TraceFile& file) {
  std::map<TraceFault, unsigned> faults;
  for (std::uint64_t number = file.first(); number < file.end(); ++number) {
    const auto record = file.at(number);
    if (record && record->event == TraceEvent::fault) {
      ++faults[static_cast<TraceFault>(record->detail)];
    }
  }
  return faults;
}

std::set<unsigned> lanes_of(const TraceFile& file) {
  std::set<unsigned> lanes;
  for (std::uint64_t number = file.first(); number < file.end(); ++number) {
    const auto record = file.at(number);
    if (record && record->event == TraceEvent::discard_begin) {
      lanes.insert(record->order);
    }
  }
  return lanes;
}

std::string listed(const TraceFile& file, const std::string& filter) {
  std::string text;
  hvtrace::list(file, *hvtrace::Filter::parse(filter), {},
                [&text](std::string_view piece) { text += piece; });
  return text;
}

void check_passes(const TraceFile& file) {
  const auto result = hvtrace::check(file);
  CHECK_MESSAGE(result.violation_count == 0,
                (result.violations.empty() ? "" : result.violations[0].text));
  CHECK_FALSE(result.incomplete);
}

// A run of one batch after another under a plan.
TraceFile run_with(const FaultOptions& faults, unsigned batches, unsigned workers = 1) {
  Recorded run(workers, faults);
  for (unsigned batch = 0; batch < batches; ++batch) {
    run.submit(batch + 1, batch % abi::ring_entries);
    // A repeated answer is one more entry of the ring, before or after the next.
    while (run.service().totals().channels[0].answered < batch + 1) {
      std::this_thread::yield();
    }
    run.drain();
  }
  return run.finish();
}

} // namespace

TEST_CASE("recorder: every fault that is carried out has its record, and the trace checks") {
  struct Case {
    FaultOptions faults;
    TraceFault expected;
    const char* name;
  };
  for (const auto& [faults, expected, name] :
       {Case{{.delay_ns = 1000}, TraceFault::delay, "fault=delay"},
        Case{{.partial = 0.5}, TraceFault::partial, "fault=partial"},
        Case{{.decline = 1}, TraceFault::decline, "fault=decline"},
        Case{{.fail = 1}, TraceFault::fail, "fault=fail"},
        Case{{.duplicate = 1}, TraceFault::duplicate, "fault=duplicate"}}) {
    CAPTURE(name);
    const TraceFile file = run_with(faults, 3);
    const auto found = faults_of(file);
    CHECK(found.size() == 1);
    CHECK(found.contains(expected));
    CHECK(found.begin()->second == 3);
    CHECK(listed(file, std::string("event=fault and ") + name).find(name) != std::string::npos);
    check_passes(file);
  }
}

TEST_CASE("recorder: an answer that waits for the next one says so") {
  Recorded run(1, {.reorder = true});
  run.submit(1, 0);
  run.submit(2, 1);
  run.await_answers(2);
  run.drain();
  const TraceFile file = run.finish();
  CHECK(faults_of(file) == std::map<TraceFault, unsigned>{{TraceFault::reorder, 1}});
  check_passes(file);
}

TEST_CASE("recorder: dropped batches are discarded late and again, on a lane of their own") {
  Recorded run(1, {.drop = 1});
  run.submit(1, 0);
  while (run.service().totals().late_discards < 2) {
    std::this_thread::yield();
  }
  run.quarantine(1);
  const TraceFile file = run.finish();
  CHECK(faults_of(file) == std::map<TraceFault, unsigned>{{TraceFault::drop, 1}});
  // Lanes: 0 the channel's, 1 the worker's, 2 of postponed answers, 3 of what is never answered.
  CHECK(lanes_of(file) == std::set<unsigned>{3});
  CHECK(hvtrace::check(file).records > 0);
  check_passes(file);
  CHECK(listed(file, "event=discard_end").find("method=dontneed") != std::string::npos);
}

TEST_CASE("recorder: two workers have two lanes, however their records mix") {
  for (unsigned round = 0; round < 50; ++round) {
    Recorded run(2);
    for (unsigned batch = 0; batch < 40; batch += abi::ring_entries) {
      for (unsigned page = 0; page < abi::ring_entries; ++page) {
        run.submit(batch + page + 1, page);
      }
      run.await_answers(batch + abi::ring_entries);
      run.drain();
    }
    const TraceFile file = run.finish();
    check_passes(file);
    CHECK(listed(file, "event=mode").find("value=2 batch=0 order=0 mode=host_async") !=
          std::string::npos);
    const auto lanes = lanes_of(file);
    CHECK_FALSE(lanes.contains(0)); // the channel's, of a synchronous host
    if (lanes == std::set<unsigned>{1, 2}) {
      return;
    }
  }
  FAIL("in 50 runs one worker did all the work");
}

TEST_CASE("recorder: a policy told to the guest is a mode from then on") {
  Recorded run(0);
  ReportSettings settings;
  settings.policy.order = 4;
  settings.policy.batch = 64;
  settings.policy.keep_bytes = 8 << 20;
  settings.policy.delay_ns = 5'000'000;
  run.recorder().policy(settings);
  settings.policy.enabled = 0;
  run.recorder().policy(settings);
  const TraceFile file = run.finish();
  CHECK(listed(file, "mode=reporting_on")
            .find("keep_bytes=8388608 value=5000000 batch=64 order=4 mode=reporting_on") !=
        std::string::npos);
  CHECK_FALSE(listed(file, "mode=reporting_off").empty());
  CHECK(listed(file, "mode=host_sync").find("value=0") != std::string::npos);
}

TEST_CASE("recorder: hypercalls are of level all, by name") {
  for (const abi::TraceLevel level : {abi::TraceLevel::ranges, abi::TraceLevel::all}) {
    Recorded run(0, {}, level);
    run.recorder().hypercall(0, abi::Hypercall::plug, 0x4000000);
    run.recorder().hypercall(1, std::bit_cast<abi::Hypercall>(std::uint64_t{999}), 0);
    const TraceFile file = run.finish();
    const std::string text = listed(file, "event=hypercall");
    CHECK((text.find("argument=67108864 call=plug vcpu=0") != std::string::npos) ==
          (level == abi::TraceLevel::all));
    CHECK((text.find("call=unknown vcpu=1") != std::string::npos) ==
          (level == abi::TraceLevel::all));
    check_passes(file);
  }
}
