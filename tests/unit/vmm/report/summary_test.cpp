// SPDX-License-Identifier: MIT
#include "vmm/report/summary.hpp"

#include <algorithm>
#include <limits>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

RunStats typical() {
  RunStats stats;
  stats.times.first_run_ns = 1;
  stats.times.workload_begin_ns = 870'001;
  stats.workload = "replay";
  stats.last.guest.events = 1'165'963;
  stats.last.guest.verified_pages = 582'518;
  stats.hints.batches = 12;
  stats.hints.ranges = 2048;
  stats.hints.bytes = 3 * gib;
  stats.hints.discarded_bytes = 3 * gib - mib;
  stats.hints.declined_bytes = mib;
  stats.hints.failed_ranges = 4;
  stats.hints.host_ns = 23'400'000;
  stats.exits = {.exits = 310, .doorbells = 12};
  stats.memory = {.guest_bytes = 2 * gib,
                  .backing = "4k",
                  .seconds = 14.4,
                  .rss_peak_bytes = 541 * mib,
                  .live_peak_bytes = 539 * mib,
                  .rss_mib_s = 4612.3,
                  .live_mib_s = 3994.1,
                  .unreported_mib_s = 6757.7};
  stats.settled = {.resident_bytes = 22 * mib, .after_ns = 3'200'000};
  return stats;
}

std::size_t widest(const std::string& text) {
  std::size_t width = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    width = std::max(width, line.size());
  }
  return width;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("a program's system calls are shown, the most frequent, in 80 columns") {
  RunStats stats = typical();
  stats.workload = "sqlite3";
  stats.program = ProgramCalls{.made = {{"read", 1'234'567}, {"brk", 12}},
                               .missing = {{"rseq", 1}},
                               .left = 345,
                               .by_instruction = 17};
  std::string text = render_summary(stats);
  CHECK(contains(text, "  sqlite3: 14.4 s, 1,234,580 system calls, 345 requests"));
  CHECK(contains(text, "    calls: read 1,234,567, brk 12\n"));
  CHECK(contains(text, "    missing: rseq 1\n"));
  CHECK_FALSE(contains(text, "pages verified"));

  for (int number = 0; number < 60; ++number) {
    stats.program->made.push_back({"a_long_name_of_a_call", 1'000'000});
    stats.program->missing.push_back({"a_long_name_of_a_call", UINT64_MAX});
  }
  text = render_summary(stats);
  CHECK(widest(text) <= 80);
  CHECK(contains(text, "brk 12, a_long_name"));
  CHECK(contains(text, ", ...\n"));
}

TEST_CASE("the summary shows what a reader looks for, in 80 columns") {
  const std::string text = render_summary(typical());
  for (const char* part :
       {"replay", "14.4 s", "1,165,963 events", "582,518 pages verified", "2.00 GiB RAM (4k)",
        "order 9, batch 256", "3.00 GiB", "541 MiB", "22.0 MiB", "3.20 ms", "4612.3 MiB s", "1.155",
        "1.692 (model)", "310", "23.4 ms", "870 us"}) {
    CAPTURE(part);
    CHECK(contains(text, part));
  }
  CHECK(widest(text) <= 80);
  CHECK(text.ends_with('\n'));
  CHECK_FALSE(contains(text, " \n"));
}

TEST_CASE("a host that gives nothing back says so, and why that may be") {
  RunStats stats = typical();
  CHECK_FALSE(contains(render_summary(stats), "went back"));
  stats.hints.declined_bytes = stats.hints.bytes;
  stats.hints.discarded_bytes = 0;
  std::string text = render_summary(stats);
  CHECK(contains(text, "Nothing went back: the host declined every hint"));
  CHECK(widest(text) <= 80);
  stats.hints.failed_discards = 2048;
  text = render_summary(stats);
  CHECK(contains(text, "this kernel refused every discard. Is the memory locked?"));
  CHECK(widest(text) <= 80);
  stats.hints.failed_discards = 0;
  stats.hints.lazily_freed_bytes = stats.hints.bytes;
  CHECK(contains(render_summary(stats), "Freed lazily"));
  stats.hints = {}; // nobody asked for anything
  CHECK_FALSE(contains(render_summary(stats), "went back"));
}

TEST_CASE("an asynchronous host and its faults have a block of their own") {
  RunStats stats = typical();
  CHECK_FALSE(contains(render_summary(stats), "in flight"));
  stats.host_mode = HostMode::async;
  stats.workers = 2;
  for (const std::uint64_t ns : {120'000U, 121'000U, 45'000'000U}) {
    stats.guest.answer_latency.add(ns);
  }
  stats.guest.oom_waits = 7;
  std::string text = render_summary(stats);
  CHECK(contains(text, "Host async, 2 workers"));
  CHECK(contains(text, "Ranges in flight"));
  CHECK(contains(text, "123 us / 46.1 ms"));
  CHECK_FALSE(contains(text, "never given"));
  CHECK(widest(text) <= 80);
  stats.host_mode = HostMode::sync;
  stats.hints.faults = {.dropped = 4, .stalled = 5};
  text = render_summary(stats);
  CHECK(contains(text, "Host sync"));
  CHECK(contains(text, "never given"));
  CHECK(widest(text) <= 80);
}

TEST_CASE("the ledger is shown where something was hinted, within 80 columns") {
  RunStats stats = typical();
  LedgerInput input;
  input.saved_mib_s = 2145.4;
  input.doorbells = 12;
  input.discard_ns = 23'400'000;
  input.uses[10] = {123'456'789'012, 999 * gib, 1023 * gib, 99'999'999};
  input.units = {.doorbell_ns = 30'000, .page_fault_ns = 5'000, .huge_page_fault_ns = {}};
  stats.ledger = Ledger::make(input);
  const std::string text = render_summary(stats);
  CHECK(contains(text, "2145.4 MiB s"));
  CHECK(contains(text, "net benefit"));
  CHECK(contains(text, "123,456,789,012"));
  CHECK(widest(text) <= 80);
  stats.ledger->spent.reset();
  stats.ledger->net_mib_s.reset();
  CHECK_FALSE(contains(render_summary(stats), "nan"));
  stats.hints = {};
  CHECK_FALSE(contains(render_summary(stats), "Time spent"));
}

TEST_CASE("a policy that was changed on the way is told, within 80 columns") {
  RunStats stats = typical();
  CHECK_FALSE(contains(render_summary(stats), "re-tuned"));
  ReportSettings changed;
  changed.policy.order = 3;
  changed.policy.keep_bytes = 255 * gib;
  changed.policy.strategy = abi::ReportStrategy::adaptive;
  changed.automatic = true;
  stats.report_changes.add({});
  stats.report_changes.add({.at_ns = 1, .settings = changed});
  const std::string text = render_summary(stats);
  CHECK(contains(text, "re-tuned 2 times; at the end:"));
  CHECK(contains(text, "report auto"));
  CHECK(widest(text) <= 80);
}

TEST_CASE("doorbells are the rings that reached the host, whoever answers") {
  RunStats stats = typical();
  stats.host_mode = HostMode::async;
  stats.workers = 2;
  stats.exits.doorbells = 0; // an eventfd took them
  stats.hints.doorbells = 1234;
  CHECK(contains(render_summary(stats), "doorbells                1,234"));
}

TEST_CASE("what is missing is told with its reason, within 80 columns") {
  RunStats stats = typical();
  stats.memory.missing = "18446744073709551615 samples in 870 us are too few to tell";
  stats.memory.rss_mib_s.reset();
  stats.memory.rss_peak_bytes.reset();
  stats.failures.count = 3;
  const std::string text = render_summary(stats);
  CHECK(contains(text, "Not measured: 18446744073709551615 samples"));
  CHECK(contains(text, "3 measurements of resident memory failed"));
  CHECK(widest(text) <= 80);
}

TEST_CASE("what is not known is a dash or left out") {
  RunStats stats;
  stats.report.policy.enabled = 0;
  const std::string text = render_summary(stats);
  CHECK(contains(text, "report off"));
  CHECK_FALSE(contains(text, "nan"));
  CHECK_FALSE(contains(text, "inf"));
  CHECK_FALSE(contains(text, "without reporting"));
  CHECK_FALSE(contains(text, "boot time"));
}

TEST_CASE("extreme values stay within the table") {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  RunStats stats = typical();
  stats.workload = std::string(1000, 'w');
  stats.report.policy.keep_bytes = 255 * gib;
  stats.report.policy.delay_ns = 86'400'000'000'000;
  stats.hints.bytes = most;
  stats.memory.rss_peak_bytes = most;
  stats.hints.batches = 123'456'789'012;
  stats.memory.rss_mib_s = 99'999'999;
  stats.last.guest.events = 4'294'967'295;
  stats.last.guest.verified_pages = 4'294'967'295;
  stats.host_mode = HostMode::poll;
  stats.workers = 8;
  stats.hints.interrupts = 123'456'789'012;
  stats.guest.max_in_flight_bytes = most;
  stats.guest.answer_latency.add(most);
  stats.hints.faults.dropped = 123'456'789'012;
  CHECK(widest(render_summary(stats)) <= 80);
}

TEST_CASE("what a trace lacks is said, and a complete one is not talked of") {
  RunStats stats = typical();
  stats.trace = {.records = {.kept_records = 1000, .lost_records = 0, .why = {}},
                 .lost_guest_events = 0};
  CHECK(render_summary(stats) == render_summary(typical()));
  stats.trace->lost_guest_events = 17'934;
  CHECK(render_summary(stats).find("17,934 events of the guest lost") != std::string::npos);
  stats.trace->records.lost_records = 530'276;
  stats.trace->records.why = "No space left on device";
  const std::string text = render_summary(stats);
  CHECK(
      text.find("The trace is not complete\n    530,276 records lost: No space left on device\n") !=
      std::string::npos);
  CHECK(text.find("17,934 events") != std::string::npos);
  CHECK(widest(text) <= 80);
}
