// SPDX-License-Identifier: MIT
#include "vmm/probe/probe.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "vmm/kvm/host_cpu.hpp"

namespace {

vmm::HostReport sample() {
  vmm::HostReport report;
  report.kernel = "6.1.0";
  report.device = "/dev/kvm";
  report.flavour = "svm";
  report.under = "TCGTCGTCGTCG";
  report.features.push_back({"pio", "pio round trip", true, 56'400.0, "", "no guest runs"});
  report.features.push_back(
      {"vmcall", "vmcall round trip", false, std::nullopt, "not delivered", "use pio"});
  return report;
}

nlohmann::json parsed(const vmm::HostReport& report) {
  return nlohmann::json::parse(vmm::to_json(report).line());
}

} // namespace

TEST_CASE("probe: the table says what there is, what it costs and what follows where it is not") {
  const std::string text = vmm::render(sample());
  CHECK(text.find("Linux 6.1.0, KVM: svm (nested, under TCGTCGTCGTCG)\n") != std::string::npos);
  CHECK(text.find("pio round trip") != std::string::npos);
  CHECK(text.find("56.4 us") != std::string::npos);
  CHECK(text.find("not delivered: use pio\n") != std::string::npos);
  CHECK(text.find("no guest runs") == std::string::npos); // it is there
  CHECK(text.find(" \n") == std::string::npos);
}

TEST_CASE("probe: JSON holds the same under stable keys") {
  const auto json = parsed(sample());
  CHECK(json["kvm"]["flavour"] == "svm");
  CHECK(json["under"] == "TCGTCGTCGTCG");
  CHECK(json["features"]["pio"]["available"] == true);
  CHECK(json["features"]["pio"]["ns"] == 56'400.0);
  CHECK(json["features"]["vmcall"]["ns"].is_null());
  CHECK(json["features"]["vmcall"]["if_missing"] == "use pio");
  vmm::HostReport bare = sample();
  bare.under.clear();
  CHECK(parsed(bare)["under"].is_null());
}

TEST_CASE("probe: without a KVM the rest of the host is still looked at") {
  const vmm::HostReport report = vmm::probe_host("/dev/null/nosuch");
  CHECK(report.flavour == "none");
  REQUIRE_FALSE(report.features.empty());
  CHECK(report.features.front().key == "kvm");
  CHECK_FALSE(report.features.front().available);
  CHECK_FALSE(report.features.front().detail.empty());
  const auto json = parsed(report);
  CHECK_FALSE(json["features"].contains("pio"));
  CHECK(json["features"]["madvise_4k"]["available"] == true);
  CHECK(json["features"]["punch_hole_2m"]["available"] == true);
}
