// SPDX-License-Identifier: MIT
#include "vmm/control/pressure_watch.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <thread>

#include <doctest/doctest.h>

using namespace vmm;
using namespace std::chrono_literals;

namespace {

const ReportSettings asked{.policy = {.order = 4,
                                      .batch = 64,
                                      .strategy = abi::ReportStrategy::decay,
                                      .keep_bytes = 8 << 20,
                                      .delay_ns = 5},
                           .timeout_ns = 7};

struct Guest {
  abi::ReportControl shared;
  std::atomic<unsigned> kicks = 0;
  ReportControlWriter report{shared, asked, [this] { ++kicks; }};
  Guest() { report.set_reader(ControlReader::present); }
};

void until(const std::function<bool()>& condition) {
  while (!condition()) {
    std::this_thread::yield();
  }
}

} // namespace

TEST_CASE("under pressure nothing is held back, and afterwards all is as it was asked for") {
  Guest guest;
  guest.report.set_pressure(MemoryPressure::high);
  CHECK(guest.shared.policy.keep_bytes == 0);
  CHECK(guest.shared.policy.delay_ns == 0);
  CHECK(guest.shared.policy.strategy == abi::ReportStrategy::batch);
  CHECK(guest.shared.policy.order == 4);
  CHECK(guest.shared.timeout_ns == 7);
  CHECK(guest.report.settings().policy.keep_bytes == 8 << 20);
  CHECK(guest.report.pressure().now);
  CHECK(guest.kicks == 1);
  guest.report.set_pressure(MemoryPressure::high);
  CHECK(guest.kicks == 1);
  // Asked for meanwhile.
  guest.report.change([](ReportSettings& settings) {
    settings.policy.order = 2;
    settings.policy.keep_bytes = 1 << 20;
    return true;
  });
  CHECK(guest.shared.policy.order == 2);
  CHECK(guest.shared.policy.keep_bytes == 0);
  guest.report.set_pressure(MemoryPressure::none);
  CHECK(guest.shared.policy.keep_bytes == 1 << 20);
  CHECK(guest.shared.policy.delay_ns == 5);
  CHECK(guest.shared.policy.strategy == abi::ReportStrategy::decay);
  CHECK(guest.report.changes().count == 1); // nobody has re-tuned but the user
  CHECK(guest.report.pressure().times == 1);
  CHECK_FALSE(guest.report.pressure().now);
}

TEST_CASE("what is off stays off under pressure") {
  Guest guest;
  guest.report.toggle();
  guest.report.set_pressure(MemoryPressure::high);
  CHECK(guest.shared.policy.enabled == 0);
}

TEST_CASE("a guest that does not listen is left alone") {
  abi::ReportControl shared;
  ReportControlWriter report(shared, asked, {});
  report.set_reader(ControlReader::absent);
  const std::uint64_t generation = shared.generation;
  report.set_pressure(MemoryPressure::high);
  CHECK(shared.generation == generation);
}

TEST_CASE("pressure lasts from the first news until there were none for a while") {
  Guest guest;
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const UniqueFd write_end(ends[1]);
  std::vector<PressureFile> files;
  files.push_back({UniqueFd(ends[0]), PressureFile::Kind::trigger, POLLIN});
  auto watch = PressureWatch::create(std::move(files), guest.report, 1ms);
  REQUIRE(watch);
  REQUIRE((*watch)->start());
  CHECK_FALSE(guest.report.pressure().now);
  REQUIRE(::write(write_end.get(), "x", 1) == 1); // and nobody takes it: news again and again
  until([&guest] { return guest.report.pressure().now; });
  char taken = 0;
  REQUIRE(::read(ends[0], &taken, 1) == 1);
  until([&guest] { return !guest.report.pressure().now; });
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  until([&guest] { return guest.report.pressure().times == 2; });
  (*watch)->stop();
  CHECK(guest.report.pressure().now); // the end of a run changes nothing
}
