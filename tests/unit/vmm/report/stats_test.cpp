// SPDX-License-Identifier: MIT
#include "vmm/report/stats.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include "vmm/base/output_file.hpp"
#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ebb-stats-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

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
  stats.guest = {.exit_status = 3, .boot_us = 812.5};
  stats.workload.events = 18446744073709551615ULL;
  stats.hints.bytes = 4096;
  stats.hints.failed_ranges = 7;
  stats.exits = {.total = 12, .doorbells = 3};
  stats.memory.rss_mib_s = 30;
  stats.memory.live_mib_s = 20;
  stats.memory.unreported_mib_s = 50;
  stats.memory.settle_ms = 1.25;
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
  stats.host = {.mode = HostMode::poll, .workers = 3};
  stats.channels.resize(2);
  stats.channels[1].doorbells_suppressed = 5;
  stats.channels[1].latency = LatencySummary{
      .samples = 2, .p50_us = 1.5, .p99_us = 2.5, .max_us = 3.5, .buckets = {{1.5, 2}}};
  stats.inflight.max_bytes = 4096;
  stats.oom.false_ones = 2;
  stats.quarantine.bytes = 8192;
  stats.wakeups = 9;
  stats.faults.partial_ranges = 11;
  const auto json = parsed(stats);
  CHECK(json["vcpus"] == 2);
  CHECK(json["host"]["mode"] == "poll");
  CHECK(json["host"]["workers"] == 3);
  REQUIRE(json["channels"].size() == 2);
  CHECK(json["channels"][0]["host_latency_us"]["p50"].is_null());
  CHECK(json["channels"][1]["doorbells_suppressed"] == 5);
  CHECK(json["channels"][1]["host_latency_us"]["p99"] == 2.5);
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
  footprint.begin(0, 4 * mib, 2 * mib);
  footprint.end(2'000'000'000, 4 * mib, 2 * mib);
  RunStats stats;
  stats.take(footprint);
  CHECK(stats.workload.seconds == doctest::Approx(2));
  CHECK(stats.memory.rss_peak_bytes == 4 * mib);
  CHECK(stats.memory.live_peak_bytes == 2 * mib);
  CHECK(stats.memory.footprint_ratio() == doctest::Approx(2));
  CHECK(stats.memory.unreported_ratio() == doctest::Approx(1));
}

Result<void> write_stats(const RunStats& stats, const std::string& path) {
  EBB_TRY_ASSIGN(file, OutputFile::open(path));
  return file.write(to_text(to_json(stats)));
}

TEST_CASE("statistics are written whole and replace what was there") {
  const TempDir dir;
  const auto path = dir.path() / "s.json";
  std::ofstream(path) << "old content that is much longer than nothing";
  RunStats stats;
  stats.workload.name = "replay";
  REQUIRE(write_stats(stats, path.string()).has_value());
  const auto json = nlohmann::json::parse(content(path));
  CHECK(json["workload"]["name"] == "replay");
  CHECK(content(path).ends_with("}\n"));
  CHECK(dir.entries() == 1);
}

TEST_CASE("a file is made with the mode that the umask leaves") {
  const TempDir dir;
  const mode_t before = ::umask(022);
  REQUIRE(write_stats(RunStats{}, (dir.path() / "s.json").string()).has_value());
  ::umask(before);
  struct stat status = {};
  REQUIRE(::stat((dir.path() / "s.json").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0644);
}

TEST_CASE("a name that is not UTF-8 does not spoil the file") {
  const TempDir dir;
  RunStats stats;
  stats.workload.name = "a\xff\xfe\"b";
  REQUIRE(write_stats(stats, (dir.path() / "s.json").string()).has_value());
  CHECK(nlohmann::json::accept(content(dir.path() / "s.json")));
}

TEST_CASE("a failure to write is one line and leaves nothing behind") {
  const TempDir dir;
  std::filesystem::create_directory(dir.path() / "taken");
  for (const auto& path : {dir.path() / "absent" / "s.json", dir.path() / "taken"}) {
    const auto written = write_stats(RunStats{}, path.string());
    REQUIRE_FALSE(written.has_value());
    CHECK(written.error().error_class == ErrorClass::user);
    CHECK(written.error().message.starts_with("--stats " + path.string()));
    CHECK(written.error().message.find('\n') == std::string::npos);
  }
  CHECK(dir.entries() == 1);
}

TEST_CASE("a path is checked before the run without leaving anything") {
  const TempDir dir;
  std::ofstream(dir.path() / "old.json") << "old";
  CHECK(OutputFile::open((dir.path() / "new.json").string()).has_value());
  CHECK(OutputFile::open((dir.path() / "old.json").string()).has_value());
  CHECK(OutputFile::open("/dev/null").has_value());
  CHECK(content(dir.path() / "old.json") == "old");
  CHECK(dir.entries() == 1);
  CHECK_FALSE(OutputFile::open((dir.path() / "absent" / "s.json").string()).has_value());
}

TEST_CASE("what is no regular file is written to, not replaced") {
  CHECK(write_stats(RunStats{}, "/dev/null").has_value());
  CHECK(std::filesystem::is_character_file("/dev/null"));
}
