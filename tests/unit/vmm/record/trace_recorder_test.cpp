// SPDX-License-Identifier: MIT
// The recorder behind a real channel server: what it writes is what happened, and checks.
#include "vmm/record/trace_recorder.hpp"

#include <unistd.h>

#include <filesystem>

#include <doctest/doctest.h>

#include "guest/mm/reporting/event_writer.hpp"
#include "shared/abi_version.hpp"
#include "tests/support/serve_channel.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/replay.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/hints/channel_server.hpp"

using abi::TraceEvent;
using abi::TraceLevel;
using hvtrace::TraceFile;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{16} << 20;
constexpr std::uint64_t managed_start = std::uint64_t{4} << 20;

std::string path_for(TraceLevel level) {
  return (std::filesystem::temp_directory_path() /
          fmt::format("ebb-recorder-{}-{}", ::getpid(), static_cast<unsigned>(level)))
      .string();
}

// One batch of two blocks of which the second lies below what is managed, through a server.
TraceFile record_one_batch(TraceLevel level) {
  const std::string path = path_for(level);
  const auto memory = vmm::GuestMemory::create(ram_bytes, vmm::Backing::small_pages);
  REQUIRE(memory);
  auto recorder = vmm::TraceRecorder::create(
      std::move(*vmm::TraceTarget::open(path)),
      {.level = level, .tsc_khz = 1'000'000, .image = "guest.bin"}, *memory);
  REQUIRE(recorder);
  vmm::SystemDiscardCalls calls;
  auto engine = vmm::DiscardEngine::create(*memory, {}, calls);
  REQUIRE(engine);
  vmm::BatchProcessor processor(vmm::ManagedRange{{managed_start}, {ram_bytes}},
                                std::move(*engine));
  auto* const channel = memory->object_at<abi::Channel>({EBB_CHANNEL_GPA});
  vmm::ChannelServer server(*channel);
  server.set_observer(recorder->get(), 0);
  processor.set_observer(recorder->get(), 0);

  REQUIRE((*recorder)->begin().has_value());
  (*recorder)->boot();
  (*recorder)->negotiated({.features_accepted = abi::feature_report | abi::feature_trace,
                           .managed_start_gpa = managed_start});
  guest::mm::EventWriter guest_end(memory->object_at<abi::EventRing>({EBB_EVENT_RING_GPA}), level);
  guest_end.allocated(0, abi::to_pfn({managed_start}), {9}, 0);
  guest_end.freed(0, abi::to_pfn({managed_start}), {9});
  guest_end.submitted(0, 1, 2);
  channel->pages[0].ranges[0] =
      abi::RangeDescriptor::make(abi::to_pfn({managed_start}), {9}, abi::RangeKind::hint);
  channel->pages[0].ranges[1] =
      abi::RangeDescriptor::make(abi::to_pfn({0}), {0}, abi::RangeKind::hint);
  channel->rings.submissions[0] = {.batch_id = 1, .page = 0, .range_count = 2};
  channel->rings.submit_tail = 1;
  (*recorder)->on_doorbell(0, 0);
  CHECK(test_support::serve(server, processor) == 1);
  guest_end.drained(0, 1, 2);
  (*recorder)->workload_end();
  (*recorder)->stop({});
  auto file = TraceFile::open(path);
  std::filesystem::remove(path);
  REQUIRE(file);
  return std::move(*file);
}

std::vector<TraceEvent> events_of(const TraceFile& file) {
  std::vector<TraceEvent> events;
  for (std::uint64_t number = file.first(); number < file.end(); ++number) {
    REQUIRE(file.at(number));
    events.push_back(file.at(number)->event);
  }
  return events;
}

} // namespace

TEST_CASE("recorder: level batches has the life of a batch, in the order that readers rely on") {
  const TraceFile file = record_one_batch(TraceLevel::batches);
  CHECK(events_of(file) == std::vector{TraceEvent::boot, TraceEvent::negotiated, TraceEvent::submit,
                                       TraceEvent::doorbell, TraceEvent::batch,
                                       TraceEvent::discard_begin, TraceEvent::discard_end,
                                       TraceEvent::answer, TraceEvent::drain,
                                       TraceEvent::workload_end, TraceEvent::end});
  CHECK(hvtrace::check(file).violation_count == 0);
}

TEST_CASE("recorder: level ranges has every range and outcome beside its batch") {
  const TraceFile file = record_one_batch(TraceLevel::ranges);
  CHECK(events_of(file) == std::vector{TraceEvent::boot, TraceEvent::negotiated, TraceEvent::submit,
                                       TraceEvent::doorbell, TraceEvent::batch, TraceEvent::range,
                                       TraceEvent::range, TraceEvent::discard_begin,
                                       TraceEvent::discard_end, TraceEvent::outcome,
                                       TraceEvent::outcome, TraceEvent::answer, TraceEvent::drain,
                                       TraceEvent::workload_end, TraceEvent::end});
  CHECK(file.at(6)->address == managed_start);
  CHECK(file.at(6)->order == 9);
  CHECK((file.at(10)->detail >> 4) == static_cast<int>(abi::Outcome::discarded));
  CHECK((file.at(11)->detail >> 4) == static_cast<int>(abi::Outcome::failed));
  CHECK(std::string(file.header().image) == "guest.bin");
  CHECK(file.header().ram_bytes == ram_bytes);
}

TEST_CASE("recorder: level all has the guest's blocks before the batch, and replays") {
  const TraceFile file = record_one_batch(TraceLevel::all);
  const auto events = events_of(file);
  CHECK(events[2] == TraceEvent::allocate);
  CHECK(events[3] == TraceEvent::free);
  CHECK(events[4] == TraceEvent::submit);
  // One answer is of the host's judging, not of the engine's: replay judges alike.
  const auto replayed = hvtrace::replay(file, {.backing = "4k"});
  REQUIRE(replayed);
  CHECK(replayed->batches == 1);
  CHECK(replayed->ranges == 2);
  CHECK(replayed->discarded_bytes == abi::Order{9}.bytes());
  CHECK(replayed->other_outcomes == 0);
}

TEST_CASE("replay: refuses what it cannot do") {
  const TraceFile file = record_one_batch(TraceLevel::batches);
  CHECK_FALSE(hvtrace::replay(file, {}));
  const TraceFile with_ranges = record_one_batch(TraceLevel::ranges);
  CHECK_FALSE(hvtrace::replay(with_ranges, {.backing = "paper"}));
  CHECK_FALSE(hvtrace::replay(with_ranges, {.discard = "burn"}));
}
