// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/scan_schedule.hpp"

#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::mm::Buddy;
using guest::mm::FreeResult;
using guest::mm::ScanSchedule;

constexpr std::uint64_t block_frames = 1U << abi::max_order;

// `singles` free blocks of order 0 that cannot merge.
class Fixture {
 public:
  explicit Fixture(unsigned singles)
      : metadata_(Buddy::metadata_bytes({block_frames}, {end})),
        buddy({.first = {block_frames}, .end = {end}, .plugged_end = {end}, .report_order = {0}},
              metadata_) {
    std::vector<abi::Pfn> pages;
    pages.reserve(std::size_t{2} * singles);
    for (unsigned page = 0; page < 2 * singles; ++page) {
      pages.push_back(buddy.allocate({0}).pfn);
    }
    for (unsigned page = 0; page < 2 * singles; page += 2) {
      REQUIRE(buddy.free(pages[page], {0}) == FreeResult::ok);
    }
  }

 private:
  static constexpr std::uint64_t end = 4 * block_frames;
  std::vector<std::byte> metadata_;

 public:
  Buddy buddy;
};

unsigned batches_of_pass(ScanSchedule& scan, const Buddy& buddy, abi::Order list) {
  unsigned batches = 0;
  while (const auto current = scan.current_list(buddy)) {
    if (*current == list) {
      ++batches;
      scan.took_batch();
    } else {
      scan.list_exhausted();
    }
  }
  return batches;
}

} // namespace

TEST_CASE("a pass is wanted two seconds after the first request, not after the latest") {
  ScanSchedule scan;
  CHECK(scan.deadline_ns() == ScanSchedule::never);
  CHECK_FALSE(scan.due(ScanSchedule::never - 1));
  scan.request(100);
  scan.request(5000);
  CHECK(scan.deadline_ns() == 100 + ScanSchedule::delay_ns);
  CHECK_FALSE(scan.due(99 + ScanSchedule::delay_ns));
  CHECK(scan.due(100 + ScanSchedule::delay_ns));
  scan.reset();
  CHECK_FALSE(scan.due(100 + ScanSchedule::delay_ns));
  scan.request(ScanSchedule::never - 5); // no overflow
  CHECK(scan.deadline_ns() == ScanSchedule::never);
}

TEST_CASE("a pass takes a sixteenth of a list, rounded up to whole batches, and one more, as Linux "
          "does") {
  for (const auto& [singles, batches] :
       std::vector<std::pair<unsigned, unsigned>>{{1, 2}, {512, 2}, {513, 3}, {1024, 3}}) {
    CAPTURE(singles);
    const Fixture fixture(singles);
    REQUIRE(fixture.buddy.free_blocks({0}) == singles);
    ScanSchedule scan;
    scan.request(0);
    CHECK(batches_of_pass(scan, fixture.buddy, {0}) == batches);
    CHECK(scan.finish(1000) == ScanSchedule::PassResult::took_some);
    CHECK(scan.deadline_ns() == 1000 + ScanSchedule::delay_ns);
  }
}

TEST_CASE(
    "a pass over large free memory takes 256 MiB at report order 9, as measured of Linux 6.1") {
  constexpr std::uint64_t blocks = 400; // of 4 MiB
  constexpr abi::Pfn first{block_frames};
  constexpr abi::Pfn end{(1 + blocks) * block_frames};
  std::vector<std::byte> metadata(Buddy::metadata_bytes(first, end));
  Buddy buddy({.first = first, .end = end, .plugged_end = end}, metadata);
  for (std::uint64_t block = 0; block < blocks; ++block) {
    REQUIRE(buddy.allocate({abi::max_order}).ok());
  }
  for (abi::Pfn block = first; block < end; block = block + block_frames) {
    REQUIRE(buddy.free(block, {abi::max_order}) == FreeResult::ok);
  }
  ScanSchedule scan;
  scan.request(0);
  std::vector<abi::RangeDescriptor> batch(abi::max_batch_ranges);
  std::uint64_t frames = 0;
  while (const auto list = scan.current_list(buddy)) {
    const auto taken = buddy.isolate_list(*list, ScanSchedule::batch_ranges, 0, batch);
    frames += taken.hinted_frames;
    if (taken.descriptors != 0) {
      scan.took_batch();
    } else {
      scan.list_exhausted();
    }
  }
  CHECK(frames * abi::page_bytes == std::uint64_t{256} << 20);
}

TEST_CASE("a pass is due until it is over, and says when it took nothing") {
  const Fixture fixture(3);
  ScanSchedule scan;
  scan.request(0);
  CHECK(scan.current_list(fixture.buddy) == abi::Order{0});
  CHECK(scan.deadline_ns() == 0);
  CHECK(scan.due(0));
  scan.request(77); // changes nothing
  CHECK(scan.deadline_ns() == 0);
  CHECK(batches_of_pass(scan, fixture.buddy, {11}) == 0);
  CHECK(scan.finish(0) == ScanSchedule::PassResult::took_nothing);
}
