// SPDX-License-Identifier: MIT
#include "vmm/report/metrics.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_folder.hpp"
#include "tests/support/text_lines.hpp"

using namespace vmm;

using test_support::lines_of;

namespace {

RunStats some_stats() {
  RunStats stats;
  stats.workload = "/opt/\"a\\b\"\nc";
  stats.memory.guest_bytes = std::uint64_t{1} << 60;
  stats.memory.backing = "4k";
  stats.memory.rss_mib_s = 1.5;
  stats.last.resident_bytes = 12'345'678;
  stats.hints.batches = (std::uint64_t{1} << 60) + 1; // no double holds it
  stats.hints.host_ns = 1'500'000'000;
  return stats;
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Names of metrics in an expression or a query.
std::set<std::string> names_in(const std::string& text) {
  static const std::regex name("ebb_[a-z_]+");
  return {std::sregex_token_iterator(text.begin(), text.end(), name), std::sregex_token_iterator()};
}

void collect(const nlohmann::json& value, std::set<std::string>& names) {
  if (value.is_string()) {
    names.merge(names_in(value.get<std::string>()));
  }
  if (value.is_structured()) {
    for (const auto& inner : value) {
      collect(inner, names);
    }
  }
}

} // namespace

TEST_CASE("names tell types and units, and stand once") {
  std::set<std::string_view> names;
  for (const Metric& metric : metrics()) {
    CAPTURE(metric.name);
    CHECK(names.insert(metric.name).second);
    CHECK(std::regex_match(std::string(metric.name), std::regex("ebb_[a-z]+(_[a-z]+)*")));
    CHECK(metric.name.ends_with("_total") == (metric.type == MetricType::counter));
    CHECK(metric.help.ends_with("."));
    CHECK(metric.help.find_first_of("\n\\") == std::string_view::npos);
    CHECK_FALSE(
        std::regex_search(std::string(metric.name), std::regex("_(ms|us|ns|mib|kib)(_|$)")));
  }
}

TEST_CASE("each number has its help and its type in front, and is exact") {
  const std::string text = prometheus_text(some_stats());
  CHECK(text.ends_with("\n"));
  const std::regex sample(R"re(([a-z_]+)(\{([a-z]+="([^"\\]|\\["\\n])*",?)+\})? -?[0-9.e+]+)re");
  std::string help;
  std::string type;
  std::set<std::string> seen;
  for (const std::string& line : lines_of(text)) {
    CAPTURE(line);
    std::smatch found;
    if (line.starts_with("# HELP ")) {
      help = line.substr(7, line.find(' ', 7) - 7);
    } else if (line.starts_with("# TYPE ")) {
      type = line.substr(7, line.find(' ', 7) - 7);
      CHECK((line.ends_with(" counter") || line.ends_with(" gauge")));
    } else {
      REQUIRE(std::regex_match(line, found, sample));
      CHECK(found[1] == help);
      CHECK(found[1] == type);
      CHECK(seen.insert(found[1]).second);
    }
  }
  CHECK(has_line(text, "ebb_memory_resident_bytes 12345678"));
  CHECK(has_line(text, "ebb_hints_batches_total 1152921504606846977"));
  CHECK(has_line(text, "ebb_discard_seconds_total 1.5"));
  CHECK(has_line(text, "ebb_memory_resident_byte_seconds_total 1572864.0"));
  CHECK(text.find("workload=\"/opt/\\\"a\\\\b\\\"\\nc\"") != std::string::npos);
}

TEST_CASE("what was not measured is no number") {
  RunStats stats = some_stats();
  stats.last.resident_bytes.reset();
  CHECK(prometheus_text(stats).find("ebb_memory_resident_bytes") == std::string::npos);
  const auto line = nlohmann::json::parse(metrics_line(stats, 12.5));
  CHECK(line["ebb_memory_resident_bytes"].is_null());
  CHECK(line["time_seconds"] == 12.5);
  CHECK(line["ebb_hints_batches_total"] == 1'152'921'504'606'846'977U);
  CHECK(line["workload"] == stats.workload);
  CHECK(line.size() == metrics().size() + 2);
  CHECK(metrics_line(stats, 0).find('\n') == std::string::npos);
}

TEST_CASE("Prometheus' own tool takes it, where there is one") {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    return;
  }
  const test_support::TemporaryFolder dir;
  std::ofstream(dir / "metrics") << prometheus_text(some_stats());
  const std::string command =
      "promtool check metrics <'" + (dir / "metrics") + "' >'" + (dir / "out") + "' 2>&1";
  const int status = std::system(command.c_str());
  CHECK_MESSAGE(status == 0, content(dir / "out"));
  CHECK(content(dir / "out").empty());
}

TEST_CASE("the dashboard asks for metrics that there are") {
  const auto dashboard = nlohmann::json::parse(content("tools/grafana-dashboard.json"));
  std::set<std::string> known{"ebb_info"};
  for (const Metric& metric : metrics()) {
    known.emplace(metric.name);
  }
  std::size_t expressions = 0;
  for (const auto& panel : dashboard["panels"]) {
    CHECK_FALSE(panel["targets"].empty());
    for (const auto& target : panel["targets"]) {
      ++expressions;
      const std::string expression = target["expr"];
      CAPTURE(expression);
      CHECK_FALSE(names_in(expression).empty());
    }
  }
  CHECK(expressions > 10);
  std::set<std::string> asked;
  collect(dashboard, asked);
  for (const std::string& name : asked) {
    CAPTURE(name);
    CHECK(known.contains(name));
  }
}
