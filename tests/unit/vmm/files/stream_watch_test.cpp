// SPDX-License-Identifier: MIT
#include "vmm/files/stream_watch.hpp"

#include <doctest/doctest.h>

using namespace vmm;

namespace {

struct Fixture {
  Fixture() {
    auto made = StreamWatch::create(page, [this] { ++wakes; });
    REQUIRE(made);
    watch = std::move(*made);
  }
  // What the streams are by now.
  void happens(std::array<short, StreamWatch::streams> what) {
    auto events = watch->wanted();
    for (std::size_t stream = 0; stream < what.size(); ++stream) {
      events.at(stream).revents = events.at(stream).fd >= 0 ? what.at(stream) : short{0};
    }
    watch->take(events);
  }

  abi::VcpuPage page;
  int wakes = 0;
  std::unique_ptr<StreamWatch> watch;
};

} // namespace

TEST_CASE("stream watch: only what is waited for is polled, and told once") {
  Fixture fixture;
  for (std::uint32_t stream = 0; stream < StreamWatch::streams; ++stream) {
    CHECK(fixture.watch->wanted().at(stream).fd == -1);
  }
  fixture.watch->watch(0, POLLIN);
  fixture.watch->watch(2, POLLOUT);
  CHECK(fixture.watch->wanted()[0].fd == 0);
  CHECK(fixture.watch->wanted()[1].fd == -1);
  CHECK(fixture.watch->wanted()[2].events == POLLOUT);
  fixture.happens({0, POLLIN, 0});
  CHECK(fixture.wakes == 0);
  fixture.happens({POLLHUP, 0, 0});
  CHECK(fixture.wakes == 1);
  CHECK(fixture.page.streams_ready == 1);
  CHECK(fixture.watch->wanted()[0].fd == -1);
  CHECK(fixture.watch->wanted()[2].fd == 2);
  fixture.watch->watch(2, 0); // no longer
  CHECK(fixture.watch->wanted()[2].fd == -1);
}

TEST_CASE(
    "stream watch: who polls is woken by whoever watches, and what is asked meanwhile stays") {
  Fixture fixture;
  auto events = fixture.watch->wanted();
  REQUIRE(::poll(&events[StreamWatch::streams], 1, 0) == 0);
  fixture.watch->watch(1, POLLOUT);
  REQUIRE(::poll(&events[StreamWatch::streams], 1, 0) == 1);
  events = fixture.watch->wanted();
  events[StreamWatch::streams].revents = POLLIN;
  events[1].revents = POLLOUT;
  fixture.watch->watch(1, POLLIN | POLLOUT);
  fixture.watch->take(events);
  CHECK(fixture.page.streams_ready == 2);
  CHECK(fixture.watch->wanted()[1].events == (POLLIN | POLLOUT));
}
