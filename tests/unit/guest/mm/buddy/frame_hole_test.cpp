// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/frame_hole.hpp"

#include <doctest/doctest.h>

using guest::mm::FrameHole;

TEST_CASE("a hole contains its frames, and an empty or reversed one none") {
  constexpr FrameHole hole{.start = {10}, .end = {20}};
  CHECK_FALSE(hole.contains({9}));
  CHECK(hole.contains({10}));
  CHECK(hole.contains({19}));
  CHECK_FALSE(hole.contains({20}));
  CHECK(FrameHole{}.empty());
  CHECK(FrameHole{.start = {20}, .end = {10}}.empty());
  CHECK(FrameHole{.start = {20}, .end = {10}}.aligned_outwards(8).empty());
  CHECK(hole.aligned_outwards(16).start == abi::Pfn{0});
  CHECK(hole.aligned_outwards(16).end == abi::Pfn{32});
}

TEST_CASE("plug units are skipped exactly if they lie wholly inside") {
  constexpr FrameHole hole{.start = {100}, .end = {200}};
  CHECK(hole.skip_units({0}, 50) == abi::Pfn{0});
  CHECK(hole.skip_units({100}, 50) == abi::Pfn{200});
  CHECK(hole.skip_units({150}, 50) == abi::Pfn{200});
  CHECK(hole.skip_units({200}, 50) == abi::Pfn{200});
  // Units that the hole does not divide: the one that reaches out of it is plugged.
  CHECK(hole.skip_units({120}, 60) == abi::Pfn{180});
  CHECK(hole.skip_units({60}, 60) == abi::Pfn{60});
  CHECK(hole.skip_units({100}, 200) == abi::Pfn{100});
}
