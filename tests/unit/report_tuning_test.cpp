// SPDX-License-Identifier: MIT
#include "vmm/report_tuning.hpp"

#include <doctest/doctest.h>

using namespace vmm;

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;

UnitCosts costs() {
  return {.doorbell_ns = 30'000, .page_fault_ns = 5'000, .huge_page_fault_ns = {}};
}

struct Fixture {
  abi::ReportControl shared;
  ReportControlWriter control{shared, {}, {}};
  ReportTuning tuning{AutoTuner(costs(), default_memory_price_ns)};
  std::uint64_t now_ns = second_ns;
  unsigned observed = 0;

  void look() {
    tuning.look(now_ns, control, [this] {
      ++observed;
      return AutoTuner::Observation{.now_ns = now_ns, .doorbells = 0, .discard_ns = 0, .uses = {}};
    });
    now_ns += AutoTuner::period_ns;
  }
};

} // namespace

TEST_CASE("tuning leaves a policy alone that is the user's, and does not even look") {
  Fixture fixture;
  fixture.look();
  CHECK(fixture.observed == 0);
  CHECK(fixture.tuning.changes() == 0);
  CHECK(fixture.shared.generation == 0);
}

TEST_CASE("order=auto of a running guest takes effect with the next look, once") {
  Fixture fixture;
  const auto changed = fixture.control.change([](ReportSettings& settings) {
    settings.automatic = true;
    settings.policy.keep_bytes = 12288;
    return true;
  });
  REQUIRE(changed);
  fixture.look();
  CHECK(fixture.shared.policy.strategy == abi::ReportStrategy::decay);
  CHECK(fixture.shared.policy.order == 1);
  CHECK(fixture.shared.policy.delay_ns > 0);
  CHECK(fixture.shared.policy.keep_bytes == 12288);
  CHECK(fixture.tuning.changes() == 1);
  fixture.look();
  CHECK(fixture.tuning.changes() == 1);
}

TEST_CASE("a user who takes over while it looks is not overruled") {
  Fixture fixture;
  REQUIRE(
      fixture.control.change([](ReportSettings& settings) { return settings.automatic = true; }));
  fixture.tuning.look(second_ns, fixture.control, [&fixture] {
    REQUIRE(fixture.control.change([](ReportSettings& settings) {
      settings.automatic = false;
      settings.policy.order = 7;
      return true;
    }));
    return AutoTuner::Observation{.now_ns = second_ns, .doorbells = 0, .discard_ns = 0, .uses = {}};
  });
  CHECK(fixture.tuning.changes() == 0);
  CHECK(fixture.shared.policy.order == 7);
  CHECK(fixture.shared.policy.strategy == abi::ReportStrategy::batch);
}
