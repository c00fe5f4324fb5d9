// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/control_watcher.hpp"

#include <optional>

#include <doctest/doctest.h>

#include "tests/support/adversarial_host.hpp"

using guest::mm::ControlWatcher;
using test_support::write_control;

TEST_CASE("a change is seen once, whole") {
  abi::ReportControl control;
  ControlWatcher watcher(&control);
  CHECK_FALSE(watcher.changed());
  CHECK_FALSE(watcher.read().has_value());
  write_control(control,
                {.enabled = 0,
                 .order = 4,
                 .batch = 33,
                 .strategy = abi::ReportStrategy::scan,
                 .keep_bytes = 5,
                 .delay_ns = 6},
                7);
  CHECK(watcher.changed());
  const std::optional<guest::mm::ReportSettings> copy = watcher.read();
  REQUIRE(copy.has_value());
  const guest::mm::ReportSettings settings = copy.value_or(guest::mm::ReportSettings{});
  CHECK(settings.policy.enabled == 0);
  CHECK(settings.policy.order == 4);
  CHECK(settings.policy.batch == 33);
  CHECK(settings.policy.strategy == abi::ReportStrategy::scan);
  CHECK(settings.policy.keep_bytes == 5);
  CHECK(settings.policy.delay_ns == 6);
  CHECK(settings.timeout_ns == 7);
  CHECK_FALSE(watcher.changed());
  CHECK_FALSE(watcher.read().has_value());
}

TEST_CASE("a host that is writing is not waited for, and not forgotten") {
  abi::ReportControl control;
  ControlWatcher watcher(&control);
  control.generation = 1;
  control.policy.batch = 3;
  CHECK(watcher.changed());
  CHECK_FALSE(watcher.read().has_value());
  CHECK(watcher.changed());
  control.generation = 2;
  REQUIRE(watcher.read().has_value());
  // Back to a generation of before: only a difference counts, so wrap-around is no matter.
  control.generation = ~std::uint64_t{0} - 1;
  CHECK(watcher.read().has_value());
  control.generation = 0;
  CHECK(watcher.read().has_value());
  CHECK_FALSE(watcher.changed());
}

TEST_CASE("without a control page nothing ever changes") {
  ControlWatcher watcher(nullptr);
  CHECK_FALSE(watcher.changed());
  CHECK_FALSE(watcher.read().has_value());
}
