// SPDX-License-Identifier: MIT
#include "tools/hvtrace/profile_file.hpp"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/profile/timed_profile.hpp"

using hvtrace::parse_profile;

namespace {

std::string name_of(std::uint64_t address) {
  return address == 1 ? "main" : address == 2 ? "a \"quoted\"; one" : "";
}

} // namespace

TEST_CASE("profile file: what the vmm has written") {
  constexpr std::uint64_t period = 1'000;
  vmm::StackCounts counts;
  std::vector<vmm::SampleSeries> series(2, vmm::SampleSeries(period));
  const vmm::Stack& inner = counts.add({vmm::VcpuActivity::guest, {2, 1}}, 1);
  const vmm::Stack& host = counts.add({vmm::VcpuActivity::host, {1}}, 1);
  const vmm::Stack& idle = counts.add({vmm::VcpuActivity::idle, {}}, 1);
  series[0].add({10'000, 1, &inner});
  series[0].add({11'050, 1, &inner}); // the same again
  series[0].add({13'000, 2, &host});
  series[0].add({14'300, 1, &inner}); // late
  series[0].add({20'000, 1, &idle});  // nobody looked in between
  std::string text;
  vmm::write_timed_profile(series, period, name_of,
                           [&text](std::string_view piece) { text += piece; });
  const auto samples = parse_profile(text, "p");
  CHECK(text.find("[[0,1],[0,2],[0,1],[],[3]]") != std::string::npos);
  REQUIRE(samples);
  CHECK(samples->frames ==
        std::vector<std::string>{"main", "a \"quoted\"; one", "[host]", "[idle]"});
  REQUIRE(samples->vcpus.size() == 2);
  CHECK(samples->vcpus[1].empty());
  std::vector<std::pair<std::uint64_t, std::vector<std::size_t>>> seen;
  for (const auto& sample : samples->vcpus[0]) {
    seen.emplace_back(sample.time_ns, samples->stacks.at(sample.stack));
  }
  CHECK(seen == std::vector<std::pair<std::uint64_t, std::vector<std::size_t>>>{{10'050, {0, 1}},
                                                                                {11'050, {0, 1}},
                                                                                {12'000, {0, 2}},
                                                                                {13'000, {0, 2}},
                                                                                {14'300, {0, 1}},
                                                                                {20'000, {3}}});
}

TEST_CASE("profile file: anything else is one line of error") {
  const auto refusal = [](const std::string& text) {
    const auto samples = parse_profile(text, "p.json");
    return samples ? std::string() : samples.error().message;
  };
  const auto profile = [](const std::string& frames, const std::string& samples,
                          const std::string& weights, const std::string& more = "") {
    return R"({"ebbPeriodNs":10,"shared":{"frames":[)" + frames +
           R"(]},"profiles":[{"unit":"nanoseconds","startValue":5,"samples":[)" + samples +
           R"(],"weights":[)" + weights + "]" + more + "}]}";
  };
  CHECK(refusal(profile(R"({"name":"f"})", "[0],[]", "10,7")).empty());
  CHECK(refusal("") == "p.json: no JSON");
  CHECK(refusal(std::string(100'000, '[')) == "p.json: no JSON");
  CHECK(refusal("vcpu 0;main 7") == "p.json: no JSON");
  const std::array<const char*, 5> others{
      "[]", "3", "{}", R"({"profiles":[],"shared":{}})",
      R"({"ebbPeriodNs":0,"profiles":[],"shared":{"frames":[]}})"};
  for (const char* const text : others) {
    CHECK(refusal(text) == "p.json: no profile that vmm --profile-out FILE.json has written");
  }
  CHECK(refusal(profile("3", "", "")) == "p.json: a frame has no name");
  CHECK(refusal(profile("", "[]", "")) == "p.json: a vCPU's samples have no times");
  CHECK(refusal(profile("", "[0]", "10")) == "p.json: a sample is none");
  CHECK(refusal(profile("", "[-1]", "10")) == "p.json: a sample is none");
  CHECK(refusal(profile("", "[]", "-10")) == "p.json: a sample is none");
  CHECK(refusal(profile("", "[]", "1e300")) == "p.json: a sample is none");
  CHECK(refusal(profile("", "[]", "18446744073709551615")) == "p.json: a sample is none");
  CHECK(refusal(profile(R"({"name":"f"})", "[0]", "9000000000000")) ==
        "p.json: more samples than there can be");
}
