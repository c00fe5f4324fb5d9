// SPDX-License-Identifier: MIT
#include "guest/linux/memory/reclaiming_frames.hpp"

#include <doctest/doctest.h>

#include "tests/support/fake_frames.hpp"

namespace {

using namespace guest::linux;
using namespace test_support;

TEST_CASE("reclaiming frames: what is kept for a while is had back when there are too few") {
  FakeFrames frames;
  struct Kept final : FrameReserve {
    explicit Kept(FakeFrames& all) : frames(all) {}
    bool give_back() override {
      ++asked;
      const bool had = count != 0;
      frames.release({0x400}, count);
      count = 0;
      return had;
    }
    FakeFrames& frames;
    std::uint64_t count = 0;
    int asked = 0;
  } kept(frames);
  ReclaimingFrames reclaiming(frames, kept);
  REQUIRE(frames.claim({0x400}, 32));
  kept.count = 32;
  CHECK(!reclaiming.claim({0x400}, 1)); // somebody's: there is enough elsewhere
  CHECK(kept.asked == 0);
  REQUIRE(reclaiming.allocate(32));
  CHECK(kept.asked == 0);
  CHECK(reclaiming.allocate(16));
  CHECK(kept.asked == 1);
  CHECK(!reclaiming.allocate(32));
  CHECK(kept.asked == 2);
}

} // namespace
