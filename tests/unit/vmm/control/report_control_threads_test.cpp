// SPDX-License-Identifier: MIT
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/control/report_control_writer.hpp"

using namespace vmm;

namespace {

// The guest's side of the protocol in shared/boot_info.hpp: empty when the copy may be torn.
std::optional<abi::ReportControl> read_control(abi::ReportControl& shared) {
  const auto load = [](auto& field) {
    return std::atomic_ref(field).load(std::memory_order_acquire);
  };
  abi::ReportControl copy;
  copy.generation = load(shared.generation);
  copy.policy.enabled = load(shared.policy.enabled);
  copy.policy.order = load(shared.policy.order);
  copy.policy.batch = load(shared.policy.batch);
  copy.policy.strategy = load(shared.policy.strategy);
  copy.policy.keep_bytes = load(shared.policy.keep_bytes);
  copy.policy.delay_ns = load(shared.policy.delay_ns);
  copy.timeout_ns = load(shared.timeout_ns);
  const bool whole = copy.generation % 2 == 0 && load(shared.generation) == copy.generation;
  return whole ? std::optional(copy) : std::nullopt;
}

} // namespace

TEST_CASE("a change is written whole and kicks") {
  abi::ReportControl shared;
  unsigned kicks = 0;
  ReportControlWriter writer(shared, {}, [&kicks] { ++kicks; });
  writer.set_reader(ControlReader::present);
  CHECK(shared.generation == 0);
  writer.set(
      {.policy = {.order = 4, .batch = 64, .keep_bytes = 4096, .delay_ns = 5}, .timeout_ns = 6});
  CHECK(shared.generation == 2);
  CHECK(shared.policy.order == 4);
  CHECK(shared.policy.batch == 64);
  CHECK(shared.policy.keep_bytes == 4096);
  CHECK(shared.policy.delay_ns == 5);
  CHECK(shared.timeout_ns == 6);
  CHECK(kicks == 1);
  CHECK(writer.toggle().value().policy.enabled == 0);
  CHECK(shared.policy.enabled == 0);
  CHECK(shared.policy.order == 4);
  CHECK(writer.toggle().value().policy.enabled == 1);
  CHECK(shared.generation == 6);
  writer.change([](ReportSettings& settings) {
    settings.policy.order = 1;
    return false;
  });
  CHECK(shared.generation == 6);
  CHECK(writer.settings().policy.order == 4);
  CHECK(kicks == 3);
}

TEST_CASE("a change before the guest's hello waits for it, without an interrupt") {
  abi::ReportControl shared;
  unsigned kicks = 0;
  ReportControlWriter writer(shared, {.policy = {.enabled = 0}}, [&kicks] { ++kicks; });
  CHECK(writer.toggle().value().policy.enabled == 1);
  CHECK(shared.policy.enabled == 1);
  CHECK(kicks == 0);
  SUBCASE("the guest reads it") {
    writer.set_reader(ControlReader::present);
    CHECK(writer.settings().policy.enabled == 1);
    CHECK(writer.toggle().value().policy.enabled == 0);
    CHECK(kicks == 1);
  }
  SUBCASE("an old guest does not: what it booted with is in force") {
    writer.set_reader(ControlReader::absent);
    CHECK(writer.settings().policy.enabled == 0);
    CHECK_FALSE(writer.toggle().has_value());
    CHECK(writer.settings().policy.enabled == 0);
    CHECK(kicks == 0);
  }
}

TEST_CASE("readers never see half a policy, and writers lose no change") {
  abi::ReportControl shared;
  ReportControlWriter writer(shared, {.policy = {.order = 0, .keep_bytes = 0}}, {});
  constexpr std::uint64_t changes = 20'000;
  std::atomic<unsigned> writing{2};
  const auto write = [&] {
    for (std::uint64_t change = 0; change < changes; ++change) {
      writer.change([](ReportSettings& settings) {
        const std::uint64_t next = settings.policy.keep_bytes + 1;
        settings.policy.keep_bytes = settings.policy.delay_ns = settings.timeout_ns = next;
        settings.policy.order = settings.policy.batch = static_cast<std::uint32_t>(next);
        return true;
      });
    }
    --writing;
  };
  unsigned torn = 0;
  {
    const std::jthread one(write);
    const std::jthread two(write);
    while (writing != 0) {
      const auto copy = read_control(shared);
      if (copy && copy->generation != 0 &&
          (copy->policy.keep_bytes != copy->generation / 2 ||
           copy->policy.delay_ns != copy->policy.keep_bytes ||
           copy->timeout_ns != copy->policy.keep_bytes ||
           copy->policy.order != copy->policy.keep_bytes ||
           copy->policy.batch != copy->policy.keep_bytes)) {
        ++torn;
      }
    }
  }
  CHECK(torn == 0);
  CHECK(shared.generation == 4 * changes);
  CHECK(writer.settings().policy.keep_bytes == 2 * changes);
}

TEST_CASE(
    "an observer sees every change that is made, in order, and what an absent reader undoes") {
  abi::ReportControl shared;
  std::vector<std::uint32_t> enabled;
  ReportControlWriter writer(shared, {}, {}, [&enabled](const ReportSettings& settings) {
    enabled.push_back(settings.policy.enabled);
  });
  writer.toggle();
  writer.toggle();
  writer.change([](ReportSettings&) { return false; });
  CHECK(enabled == std::vector<std::uint32_t>{0, 1});
  writer.toggle();
  writer.set_reader(ControlReader::absent);
  CHECK(enabled == std::vector<std::uint32_t>{0, 1, 0, 1});
  CHECK_FALSE(writer.toggle().has_value());
  CHECK(enabled.size() == 4);
}
