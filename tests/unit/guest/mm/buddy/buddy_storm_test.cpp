// SPDX-License-Identifier: MIT
// Random operations on a Buddy beside a model that is too simple to be wrong.
#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/buddy_fixture.hpp"
#include "tests/support/reference_buddy.hpp"

namespace {

using namespace guest::mm;
using abi::Order;
using abi::Pfn;
using test_support::block_frames;
using test_support::BuddyFixture;
using test_support::ReferenceBuddy;

struct Owned {
  Pfn pfn;
  unsigned order;
};

// Random operations, each followed by a comparison with the model.
class Storm {
 public:
  Storm(std::uint64_t seed, const BuddyConfig& config)
      : random_(seed), config_(config), fixture_(config),
        model_(config.first.value, config.end.value, config.report_order.value, config.hole) {}

  void run(unsigned steps) {
    for (unsigned step = 0; step < steps; ++step) {
      CAPTURE(step);
      // Phases of growth and decline.
      const bool growing = (step / 400) % 2 == 0;
      const std::uint64_t dice = pick(100);
      if (dice < (growing ? 55U : 25U)) {
        allocate();
      } else if (dice < 80) {
        free_one();
      } else if (dice < 88) {
        isolate();
      } else if (dice < 96) {
        acknowledge();
      } else if (dice < 98) {
        abuse();
      } else {
        change_setting();
      }
      REQUIRE(model_.compare(fixture_.buddy) == "");
    }
    while (!owned_.empty()) {
      free_one();
    }
    while (!in_flight_.empty()) {
      acknowledge();
    }
    REQUIRE(model_.compare(fixture_.buddy) == "");
  }

 private:
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }

  void allocate() {
    const unsigned order = pick(4) == 0 ? static_cast<unsigned>(pick(abi::order_count))
                                        : static_cast<unsigned>(pick(3));
    Buddy& buddy = fixture_.buddy;
    const std::optional<std::uint64_t> expected = model_.expected_allocation(order);
    const Pfn frontier = buddy.frontier();
    const BuddyAllocation got = buddy.allocate({static_cast<std::uint8_t>(order)});
    if (expected) {
      REQUIRE(got.ok());
      REQUIRE(got.pfn.value == *expected);
      REQUIRE(buddy.frontier() == frontier);
    }
    model_.advance_frontier(buddy.frontier().value);
    if (got.ok()) {
      REQUIRE(model_.allocate(got, order) == "");
      if (got.content == Content::zeroed && pick(4) == 0) {
        buddy.tags().put(got.pfn, abi::FrameKind::cached, {static_cast<std::uint8_t>(order)});
        buddy.free_untouched(got.pfn, {static_cast<std::uint8_t>(order)}, got.was);
        model_.free_untouched(got.pfn.value, order);
      } else {
        owned_.push_back({got.pfn, order});
      }
    } else if (buddy.plugged_end() < config_.end) {
      REQUIRE(got.status == AllocateStatus::needs_plug);
      buddy.set_plugged_end(std::min(config_.end, buddy.plugged_end() + 1 + pick(1500)));
    } else {
      REQUIRE(got.status == AllocateStatus::out_of_memory);
    }
  }

  void free_one() {
    if (owned_.empty()) {
      return;
    }
    std::swap(owned_[pick(owned_.size())], owned_.back());
    const Owned block = owned_.back();
    owned_.pop_back();
    fixture_.free(block.pfn, block.order);
    model_.free(block.pfn.value, block.order);
  }

  void isolate() {
    constexpr std::array<std::size_t, 5> capacities{2, 3, 9, 64, abi::max_batch_ranges};
    const std::size_t capacity = capacities[pick(capacities.size())];
    const auto goal = static_cast<std::uint32_t>(1 + pick(capacity));
    const std::uint64_t keep = pick(2) == 0 ? 0 : pick(600);
    const std::uint64_t reportable = model_.reportable();
    const auto ranges = fixture_.isolate(goal, keep, capacity);
    REQUIRE(model_.isolate(ranges, keep) == "");
    REQUIRE((ranges.empty() || reportable > keep));
    if (keep == 0) {
      REQUIRE(ranges.empty() == (reportable == 0)); // always makes progress
    }
    if (!ranges.empty()) {
      in_flight_.push_back(ranges);
    }
  }

  void acknowledge() {
    if (in_flight_.empty()) {
      return;
    }
    std::swap(in_flight_[pick(in_flight_.size())], in_flight_.back());
    const std::vector<abi::RangeDescriptor> ranges = in_flight_.back();
    in_flight_.pop_back();
    abi::CompletionEntry answers;
    const bool all_alike = pick(2) == 0;
    for (std::uint32_t index = 0; index < ranges.size(); ++index) {
      answers.set_outcome(index,
                          all_alike ? abi::Outcome::discarded : static_cast<abi::Outcome>(pick(3)));
    }
    fixture_.buddy.acknowledge(ranges, answers);
    model_.acknowledge(ranges, answers);
  }

  // Frees that must be refused and change nothing.
  void abuse() {
    const Pfn pfn{config_.first.value + pick(config_.end - config_.first)};
    const auto order = static_cast<unsigned>(pick(abi::order_count));
    const bool legal = std::any_of(owned_.begin(), owned_.end(), [&](const Owned& block) {
      return block.pfn == pfn && block.order == order;
    });
    if (!legal) {
      REQUIRE(fixture_.buddy.free(pfn, {static_cast<std::uint8_t>(order)}) != FreeResult::ok);
    }
  }

  void change_setting() {
    const auto order = static_cast<unsigned>(pick(abi::order_count));
    fixture_.buddy.set_report_order({static_cast<std::uint8_t>(order)});
    model_.set_report_order(order);
  }

  std::mt19937_64 random_;
  BuddyConfig config_;
  BuddyFixture fixture_;
  ReferenceBuddy model_;
  std::vector<Owned> owned_;
  std::vector<std::vector<abi::RangeDescriptor>> in_flight_;
};

} // namespace

TEST_CASE("buddy agrees with the reference model under random operations") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    // Odd bounds at both ends, and memory that is plugged late.
    const BuddyConfig config{.first = {block_frames - 37 * seed},
                             .end = {3 * block_frames + 11 * seed},
                             .plugged_end = {block_frames + 100 * (seed % 3)},
                             .report_order = {static_cast<std::uint8_t>(seed % abi::order_count)}};
    Storm(seed, config).run(1600);
    BuddyConfig with_hole = config;
    with_hole.end = {6 * block_frames + 11 * seed};
    with_hole.hole = {.start = {(1 + seed % 3) * block_frames},
                      .end = {(3 + seed % 3) * block_frames}};
    Storm(seed, with_hole).run(800);
  }
}
