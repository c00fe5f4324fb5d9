// SPDX-License-Identifier: MIT
#include "vmm/report/stats.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_folder.hpp"
#include "vmm/base/units.hpp"
#include "vmm/io/output_file.hpp"

using namespace vmm;
using test_support::TemporaryFolder;

namespace {

nlohmann::json parsed(const RunStats& stats) {
  return nlohmann::json::parse(to_text(to_json(stats)));
}

} // namespace

TEST_CASE("every field the interface promises is there") {
  const auto json = parsed(RunStats{});
  for (const char* pointer : {"/version",
                              "/guest/exit_status",
                              "/guest/boot_us",
                              "/workload/name",
                              "/workload/seconds",
                              "/workload/cpu_seconds",
                              "/memory/minor_faults",
                              "/ledger",
                              "/series/at_ms",
                              "/series/resident_kib",
                              "/series/live_kib",
                              "/workload/events",
                              "/workload/verified_pages",
                              "/allocator/moved_bytes",
                              "/allocator/spun_us",
                              "/allocator/zero_asked_bytes",
                              "/allocator/memset_skipped_bytes",
                              "/report/order",
                              "/report/batch",
                              "/hints/batches",
                              "/hints/ranges",
                              "/hints/bytes",
                              "/hints/discarded_bytes",
                              "/hints/declined_bytes",
                              "/hints/failed_ranges",
                              "/hints/redundant_bytes",
                              "/hints/host_ns",
                              "/exits/total",
                              "/exits/doorbells",
                              "/memory/guest_bytes",
                              "/memory/rss_peak_bytes",
                              "/memory/rss_final_bytes",
                              "/memory/live_peak_bytes",
                              "/memory/settle_ms",
                              "/memory/rss_mib_s",
                              "/memory/live_mib_s",
                              "/memory/footprint_ratio",
                              "/report/timeout_ns",
                              "/report/strategy",
                              "/vcpus",
                              "/host/mode",
                              "/host/workers",
                              "/channels",
                              "/inflight/max_bytes",
                              "/inflight/latency_us/p50",
                              "/inflight/latency_us/p99",
                              "/inflight/latency_us/max",
                              "/oom/waits",
                              "/oom/false",
                              "/oom/wait_us/p99",
                              "/quarantine/bytes",
                              "/wakeups",
                              "/doorbells_suppressed",
                              "/faults/delayed",
                              "/faults/dropped",
                              "/faults/stalled",
                              "/faults/duplicated",
                              "/faults/reordered",
                              "/faults/declined",
                              "/faults/failed",
                              "/faults/partial_ranges"}) {
    CAPTURE(pointer);
    CHECK(json.contains(nlohmann::json::json_pointer(pointer)));
  }
}

TEST_CASE("values arrive under their names, exactly") {
  RunStats stats;
  stats.exit_status = 3;
  stats.times.first_run_ns = 1000;
  stats.times.workload_begin_ns = 813'500;
  stats.last.guest.events = 18446744073709551615ULL;
  stats.hints.bytes = 4096;
  stats.hints.failed_ranges = 7;
  stats.exits = {.exits = 12, .doorbells = 3};
  stats.memory.rss_mib_s = 30;
  stats.memory.live_mib_s = 20;
  stats.memory.unreported_mib_s = 50;
  stats.settled.after_ns = 1'250'000;
  const auto json = parsed(stats);
  CHECK(json["guest"]["exit_status"] == 3);
  CHECK(json["guest"]["boot_us"] == 812.5);
  CHECK(json["workload"]["events"] == 18446744073709551615ULL);
  CHECK(json["report"]["order"] == 9);
  CHECK(json["report"]["enabled"] == true);
  CHECK(json["hints"]["bytes"] == 4096);
  CHECK(json["hints"]["failed_ranges"] == 7);
  CHECK(json["exits"]["doorbells"] == 3);
  CHECK(json["memory"]["footprint_ratio"] == 1.5);
  CHECK(json["memory"]["unreported_footprint_ratio"] == 2.5);
  CHECK(json["memory"]["settle_ms"] == 1.25);
}

TEST_CASE("what is in flight is told per channel and in sum") {
  RunStats stats;
  stats.vcpus = 2;
  stats.host_mode = HostMode::poll;
  stats.workers = 3;
  PortTotals second;
  second.doorbells_suppressed = 5;
  second.latency.add(1500);
  stats.hints.add(PortTotals{});
  stats.hints.add(second);
  stats.guest.max_in_flight_bytes = 4096;
  stats.guest.oom_failures = 2;
  stats.guest.quarantined_bytes = 8192;
  stats.hints.interrupts = 9;
  stats.hints.faults.partial_ranges = 11;
  const auto json = parsed(stats);
  CHECK(json["vcpus"] == 2);
  CHECK(json["host"]["mode"] == "poll");
  CHECK(json["host"]["workers"] == 3);
  REQUIRE(json["channels"].size() == 2);
  CHECK(json["channels"][0]["host_latency_us"]["p50"].is_null());
  CHECK(json["channels"][1]["doorbells_suppressed"] == 5);
  CHECK(json["channels"][1]["host_latency_us"]["samples"] == 1);
  CHECK(json["channels"][1]["host_latency_us"]["p99"] == 1.535); // the bucket's longest
  CHECK(json["inflight"]["max_bytes"] == 4096);
  CHECK(json["inflight"]["latency_us"]["max"].is_null());
  CHECK(json["oom"]["false"] == 2);
  CHECK(json["quarantine"]["bytes"] == 8192);
  CHECK(json["wakeups"] == 9);
  CHECK(json["faults"]["partial_ranges"] == 11);
}

TEST_CASE("what was not measured is null, not zero") {
  const auto json = parsed(RunStats{});
  CHECK(json["guest"]["boot_us"].is_null());
  CHECK(json["memory"]["settle_ms"].is_null());
  CHECK(json["memory"]["footprint_ratio"].is_null());
}

TEST_CASE("a footprint is taken over whole") {
  FootprintIntegral footprint;
  const auto at = [](std::uint64_t now_ns) {
    return MemoryPoint{.at_ns = now_ns,
                       .resident_bytes = 4 * mib,
                       .live_bytes = 2 * mib,
                       .ever_resident_bytes = 6 * mib};
  };
  footprint.begin(at(0));
  for (std::uint64_t tenth = 1; tenth < 10; ++tenth) {
    footprint.add(at(tenth * 200'000'000));
  }
  footprint.end(at(2'000'000'000));
  RunStats stats;
  stats.memory.take(footprint);
  CHECK(stats.memory.seconds == doctest::Approx(2));
  CHECK(stats.memory.rss_peak_bytes == 4 * mib);
  CHECK(stats.memory.live_peak_bytes == 2 * mib);
  CHECK(stats.memory.footprint_ratio().value() == doctest::Approx(2));
  CHECK(stats.memory.unreported_ratio().value() == doctest::Approx(3));
  CHECK(stats.memory.missing.empty());
}

TEST_CASE("what two samples cannot tell is absent, and what they can is there") {
  FootprintIntegral footprint;
  footprint.begin({.at_ns = 0, .resident_bytes = mib, .live_bytes = 0, .live_high_bytes = kib});
  footprint.end(
      {.at_ns = 3'000'000, .resident_bytes = 9 * mib, .live_bytes = 0, .live_high_bytes = 8 * mib});
  RunStats stats;
  stats.memory.take(footprint);
  CHECK_FALSE(stats.memory.rss_mib_s.has_value());
  CHECK_FALSE(stats.memory.live_mib_s.has_value());
  CHECK_FALSE(stats.memory.footprint_ratio().has_value());
  CHECK(stats.memory.missing == "2 samples in 3.00 ms are too few to tell");
  CHECK(stats.memory.live_peak_bytes == 8 * mib); // the guest's word
  CHECK(stats.memory.rss_peak_bytes == 9 * mib);  // nothing was given back in between
  FootprintIntegral missed;
  missed.begin({.at_ns = 0, .resident_bytes = mib});
  missed.miss_peak();
  missed.end({.at_ns = 3'000'000, .resident_bytes = 9 * mib});
  RunStats discarding;
  discarding.memory.take(missed);
  CHECK_FALSE(discarding.memory.rss_peak_bytes.has_value());
  const auto json = parsed(discarding);
  for (const char* const name : {"rss_mib_s", "live_mib_s", "footprint_ratio", "rss_peak_bytes"}) {
    CHECK(json["memory"][name].is_null());
  }
  CHECK(json["memory"]["missing"] == discarding.memory.missing);
}

TEST_CASE("what was re-tuned is told: how often, and the latest of it") {
  RunStats stats;
  CHECK(parsed(stats)["report"]["changes"]["count"] == 0);
  stats.times.first_run_ns = 1'000'000;
  for (std::uint64_t change = 0; change < 40; ++change) {
    ReportSettings settings;
    settings.policy.batch = static_cast<std::uint32_t>(change);
    stats.report_changes.add({.at_ns = 1'000'000 + change * 2'000'000, .settings = settings});
  }
  const auto changes = parsed(stats)["report"]["changes"];
  CHECK(changes["count"] == 40);
  REQUIRE(changes["last"].size() == ReportChanges::most_kept);
  CHECK(changes["last"].front()["batch"] == 40 - ReportChanges::most_kept);
  CHECK(changes["last"].back()["batch"] == 39);
  CHECK(changes["last"].back()["at_ms"] == 78.0);
}

TEST_CASE("doorbells have one meaning: the sum is that of the channels") {
  RunStats stats;
  for (const std::uint64_t rings : {5U, 0U, 7U}) {
    PortTotals channel;
    channel.doorbells = rings;
    stats.hints.add(channel);
  }
  CHECK(parsed(stats)["hints"]["doorbells"] == 12);
}

TEST_CASE("how far a workload fell behind its schedule is told of one that has a schedule") {
  RunStats stats;
  CHECK(parsed(stats)["workload"]["behind_ms"].is_null());
  stats.guest.behind_ns = 1; // always on time
  CHECK(parsed(stats)["workload"]["behind_ms"] == 0);
  stats.guest.behind_ns = 2'500'001;
  CHECK(parsed(stats)["workload"]["behind_ms"] == 2.5);
}

TEST_CASE("measurements that failed are told") {
  RunStats stats;
  CHECK(parsed(stats)["memory"]["failed_samples"] == 0);
  CHECK(parsed(stats)["memory"]["last_failure"].is_null());
  stats.failures = {.count = 3, .last = "no tables today"};
  CHECK(parsed(stats)["memory"]["failed_samples"] == 3);
  CHECK(parsed(stats)["memory"]["last_failure"] == "no tables today");
}

Result<void> write_stats(const RunStats& stats, const std::string& path) {
  EBB_TRY_ASSIGN(file, OutputFile::open("--stats", path));
  return file.write(to_text(to_json(stats)));
}

TEST_CASE("statistics are written whole and replace what was there") {
  const TemporaryFolder dir;
  const auto path = dir.path() / "s.json";
  std::ofstream(path) << "old content that is much longer than nothing";
  RunStats stats;
  stats.workload = "replay";
  REQUIRE(write_stats(stats, path.string()).has_value());
  const auto json = nlohmann::json::parse(test_support::content(path));
  CHECK(json["workload"]["name"] == "replay");
  CHECK(test_support::content(path).ends_with("}\n"));
  CHECK(dir.entries() == 1);
}

TEST_CASE("a name that is not UTF-8 does not spoil the file") {
  const TemporaryFolder dir;
  RunStats stats;
  stats.workload = "a\xff\xfe\"b";
  REQUIRE(write_stats(stats, (dir.path() / "s.json").string()).has_value());
  CHECK(nlohmann::json::accept(test_support::content(dir.path() / "s.json")));
}

TEST_CASE("a trace has its numbers, and why some are missing") {
  RunStats stats;
  CHECK_FALSE(parsed(stats).contains("trace"));
  stats.trace = {.records = {.kept_records = 10, .lost_records = 0, .why = {}},
                 .lost_guest_events = 0};
  CHECK(parsed(stats)["trace"] ==
        nlohmann::json{
            {"complete", true}, {"records", 10}, {"lost_records", 0}, {"lost_guest_events", 0}});
  stats.trace->lost_guest_events = 3;
  CHECK(parsed(stats)["trace"]["complete"] == false);
  stats.trace = {.records = {.kept_records = 10, .lost_records = 5, .why = "no room"},
                 .lost_guest_events = 0};
  CHECK(parsed(stats)["trace"]["complete"] == false);
  CHECK(parsed(stats)["trace"]["why"] == "no room");
}
