// SPDX-License-Identifier: MIT
// A Buddy with memory of its own for its metadata, and the shortest way to say what is done to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/buddy/buddy.hpp"

namespace test_support {

inline constexpr std::uint64_t block_frames = 1U << abi::max_order;

struct BuddyFixture {
  explicit BuddyFixture(const guest::mm::BuddyConfig& config)
      : metadata(guest::mm::Buddy::metadata_bytes(config.first, config.end)),
        buddy(config, metadata) {}

  abi::Pfn allocate(unsigned order) {
    const guest::mm::BuddyAllocation got = buddy.allocate({static_cast<std::uint8_t>(order)});
    REQUIRE(got.ok());
    return got.pfn;
  }
  // Blocks of `order`, as they come.
  std::vector<abi::Pfn> allocate_many(std::size_t count, unsigned order) {
    std::vector<abi::Pfn> held(count);
    std::ranges::generate(held, [&] { return allocate(order); });
    return held;
  }
  void free(abi::Pfn pfn, unsigned order) {
    REQUIRE(buddy.free(pfn, {static_cast<std::uint8_t>(order)}) == guest::mm::FreeResult::ok);
  }
  std::vector<abi::RangeDescriptor> isolate(std::uint32_t goal = abi::max_batch_ranges,
                                            std::uint64_t keep = 0,
                                            std::size_t capacity = abi::max_batch_ranges) {
    std::vector<abi::RangeDescriptor> ranges(capacity);
    const guest::mm::IsolatedBatch batch = buddy.isolate(goal, keep, ranges);
    ranges.resize(batch.descriptors);
    return ranges;
  }
  void acknowledge(const std::vector<abi::RangeDescriptor>& ranges, abi::Outcome outcome) {
    abi::CompletionEntry answers;
    for (std::uint32_t index = 0; index < ranges.size(); ++index) {
      answers.set_outcome(index, outcome);
    }
    buddy.acknowledge(ranges, answers);
  }

  std::vector<std::byte> metadata;
  guest::mm::Buddy buddy;
};

// RAM of `count` blocks of the largest order, all of it plugged.
inline guest::mm::BuddyConfig blocks(std::uint64_t count, unsigned report_order = 9) {
  return {.first = {block_frames},
          .end = {block_frames * (1 + count)},
          .plugged_end = {block_frames * (1 + count)},
          .report_order = {static_cast<std::uint8_t>(report_order)}};
}

} // namespace test_support
