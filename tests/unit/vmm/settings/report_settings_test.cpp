// SPDX-License-Identifier: MIT
#include "vmm/settings/report_settings.hpp"

#include <string_view>

#include <doctest/doctest.h>

#include "shared/report_channel.hpp"
#include "tests/support/parsed_command_line.hpp"

using namespace vmm;
using namespace test_support;

namespace {

abi::ReportPolicy policy_of(std::string_view text) {
  const auto settings = parse_report_settings("--report", text);
  REQUIRE_MESSAGE(settings.has_value(), settings.error().message);
  return settings->policy;
}

} // namespace

TEST_CASE("report on and off, as the control socket takes them") {
  CHECK(policy_of("on").enabled == 1);
  CHECK(policy_of("off").enabled == 0);
  CHECK(accept({"--report", "on"}).report.enabled == 1);
  CHECK(contains(refuse({"--report", "yes"}), "must be on or off"));
}

TEST_CASE("report policies take any subset of the keys in any order") {
  CHECK(policy_of("off").enabled == 0);
  CHECK(policy_of("order=0").order == 0);
  CHECK(policy_of("order=10").order == 10);
  CHECK(policy_of("batch=1").batch == 1);
  CHECK(policy_of("batch=512").batch == 512);
  const abi::ReportPolicy both = policy_of("delay=2s,keep=4K");
  CHECK(both.enabled == 1);
  CHECK(both.order == 9);
  CHECK(both.batch == 256);
  CHECK(both.keep_bytes == 4 * kib);
  CHECK(both.delay_ns == 2'000'000'000);
  CHECK(both.strategy == abi::ReportStrategy::batch);
}

TEST_CASE("a policy's timeout and strategy") {
  const Config config = accept({"--report", "timeout=250,strategy=scan"});
  CHECK(config.report_timeout_ns == 250'000'000);
  CHECK(config.report.strategy == abi::ReportStrategy::scan);
  CHECK(config.report.order == 9);
  CHECK(policy_of("strategy=each").strategy == abi::ReportStrategy::each);
  CHECK(accept({}).report_timeout_ns == 0);
}

TEST_CASE("settings are changed on top of others") {
  const ReportSettings base{.policy = {.order = 3, .batch = 7, .keep_bytes = 4096},
                            .timeout_ns = 5};
  const auto changed = parse_report_settings("report", "batch=9,delay=2us", base);
  REQUIRE(changed.has_value());
  CHECK(changed->policy.order == 3);
  CHECK(changed->policy.batch == 9);
  CHECK(changed->policy.keep_bytes == 4096);
  CHECK(changed->policy.delay_ns == 2000);
  CHECK(changed->timeout_ns == 5);
  const auto off = parse_report_settings("report", "off", base);
  REQUIRE(off.has_value());
  CHECK(off->policy.enabled == 0);
  CHECK(off->policy.batch == 7);
  const auto wrong = parse_report_settings("report", "batch=0", base);
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().message.starts_with("report batch"));
}

TEST_CASE("report policies refuse everything else") {
  static_assert(abi::max_batch_ranges == 512);
  for (const char* text : {"",
                           ",",
                           "on,order=9",
                           "off,order=9",
                           "order=9,off",
                           "OFF",
                           "order",
                           "order=",
                           "=9",
                           "order=11",
                           "order=-1",
                           "order=9x",
                           "order=99999999999999999999",
                           "order= 9",
                           "batch=0",
                           "batch=513",
                           "batch=",
                           "batch=1.5",
                           "keep=",
                           "keep=-1",
                           "keep=1Q",
                           "keep=17E",
                           "delay=",
                           "delay=-1",
                           "delay=1h",
                           "delay=nan",
                           "delay=.",
                           "speed=9",
                           "Order=9",
                           "order=9,",
                           ",order=9",
                           "order=9,,batch=1",
                           "order=9;batch=1",
                           "order=9,order=9",
                           "batch=1,order=2,batch=1",
                           "timeout=",
                           "timeout=-1",
                           "timeout=soon",
                           "strategy=",
                           "strategy=balloon",
                           "strategy=each,strategy=each",
                           "order==9"}) {
    CAPTURE(text);
    const auto policy = parse_report_settings("--report", text);
    REQUIRE_FALSE(policy.has_value());
    CHECK(policy.error().error_class == ErrorClass::user);
    CHECK(contains(policy.error().message, "--report"));
    CHECK(contains(refuse({"--report", text}), "--report"));
  }
}

TEST_CASE("the keep-warm reserve fits into memory") {
  CHECK(accept({"--mem", "16M", "--report", "keep=16M"}).report.keep_bytes == 16 * mib);
  CHECK(contains(refuse({"--mem", "16M", "--report", "keep=16385K"}), "keep"));
  CHECK(contains(refuse({"--report", "keep=1G", "--mem", "512M"}), "512M"));
}
