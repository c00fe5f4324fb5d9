// SPDX-License-Identifier: MIT
#include "vmm/report/repeated_runs.hpp"

#include <cmath>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

RunStats run_of(double seconds, std::uint64_t batches) {
  RunStats stats;
  stats.memory.seconds = seconds;
  stats.hints.batches = batches;
  return stats;
}

std::vector<RepeatedRun> runs(std::initializer_list<double> seconds) {
  std::vector<RepeatedRun> all;
  for (const double each : seconds) {
    all.push_back(RepeatedRun::of(run_of(each, all.size())));
  }
  return all;
}

// What stands at a path of keys with dots between.
nlohmann::json at(const nlohmann::json& json, const std::string& key) {
  nlohmann::json found = json;
  std::istringstream parts(key);
  for (std::string part; std::getline(parts, part, '.');) {
    if (!found.is_object() || !found.contains(part)) {
      return nullptr;
    }
    found = nlohmann::json(found[part]);
  }
  return found;
}

} // namespace

TEST_CASE("quartiles of few and of many values") {
  CHECK_FALSE(Quartiles::of({}));
  const double none = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(Quartiles::of({none, none}));
  const auto one = Quartiles::of({none, 7}).value();
  CHECK(one.lower == 7);
  CHECK(one.upper == 7);
  CHECK(one.count == 1);
  const auto two = Quartiles::of({4, 0}).value();
  CHECK(two.lower == 1);
  CHECK(two.median == 2);
  CHECK(two.upper == 3);
  const auto five = Quartiles::of({50, 10, 30, 20, 40}).value();
  CHECK(five.lower == 20);
  CHECK(five.median == 30);
  CHECK(five.upper == 40);
}

TEST_CASE("the table shows what was measured, in 80 columns") {
  const auto all = runs({1, 2, 4});
  const std::string text = render_repeated_runs("ramp", {all});
  CHECK(text.find("  ramp: 3 runs\n") != std::string::npos);
  std::istringstream lines(text);
  bool has_time = false;
  for (std::string line; std::getline(lines, line);) {
    CHECK(line.size() <= 80);
    has_time =
        has_time ||
        (line.starts_with("    time ") && line.find("2.00 s") != std::string::npos &&
         line.find("1.50 s") != std::string::npos && line.find("3.00 s") != std::string::npos);
    CHECK_FALSE(line.starts_with("    footprint ratio")); // not measured
  }
  CHECK_MESSAGE(has_time, text);
}

TEST_CASE("the JSON holds every run whole, and each figure under its own key") {
  const auto all = runs({1, 2, 4});
  const auto json = nlohmann::json::parse(repeated_runs_text({all}));
  CHECK(json["warm_up"] == 0);
  REQUIRE(json["runs"].size() == 3);
  for (std::size_t index = 0; index < 3; ++index) {
    CHECK(json["runs"][index] == nlohmann::json::parse(all[index].stats));
  }
  CHECK(json["figures"]["workload.seconds"]["median"] == 2.0);
  CHECK(json["figures"]["hints.batches"]["upper_quartile"] == 1.5);
  CHECK(json["figures"]["hints.batches"]["runs"] == 3);
  CHECK(json["figures"]["memory.footprint_ratio"].is_null());
  CHECK(json["figures"].size() == figures().size());
}

TEST_CASE("runs to warm up do not count, and are told") {
  const auto all = runs({100, 1, 2, 4});
  const auto measured = RepeatedRuns::of(all, 1);
  CHECK(render_repeated_runs("ramp", measured).find("  ramp: 3 runs, after 1 to warm up\n") !=
        std::string::npos);
  const auto json = nlohmann::json::parse(repeated_runs_text(measured));
  CHECK(json["warm_up"] == 1);
  CHECK(json["runs"].size() == 3);
  CHECK(json["runs"][0] == nlohmann::json::parse(all[1].stats));
  CHECK(json["figures"]["workload.seconds"]["median"] == 2.0);
  // One that fails while it warms up leaves nothing that counts.
  const auto none = RepeatedRuns::of(all, 7);
  CHECK(none.warm_up == 4);
  CHECK(nlohmann::json::parse(repeated_runs_text(none))["runs"].empty());
}

TEST_CASE("a figure is what the statistics have under its key") {
  RunStats stats = run_of(2.5, 17);
  stats.times.first_run_ns = 1'000'000;
  stats.times.workload_begin_ns = 3'000'000;
  stats.memory.rss_peak_bytes = 5 * mib;
  stats.memory.live_peak_bytes = 4 * mib;
  stats.memory.rss_mib_s = 3;
  stats.memory.live_mib_s = 2;
  stats.memory.unreported_mib_s = 4;
  stats.settled = {.resident_bytes = mib, .after_ns = 5'000'000};
  stats.ledger = Ledger::make({});
  const auto json = nlohmann::json::parse(to_text(to_json(stats)));
  std::set<std::string_view> keys;
  for (const Figure& figure : figures()) {
    CAPTURE(figure.key);
    CHECK(keys.insert(figure.key).second);
    const nlohmann::json found = at(json, std::string(figure.key));
    const auto value = figure.value(stats);
    REQUIRE(found.is_number() == value.has_value());
    if (value) {
      CHECK(found.get<double>() == doctest::Approx(*value));
      CHECK_FALSE(figure.show(*value).empty());
    }
  }
}
