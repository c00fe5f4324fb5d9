// SPDX-License-Identifier: MIT
#include "vmm/hints/range_coalescer.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

using abi::RangeKind;
using vmm::CheckedRange;
using vmm::RunSelection;
using vmm::SpanUse;

namespace {

CheckedRange range(std::uint64_t pfn, unsigned order, RangeKind kind = RangeKind::hint,
                   std::uint16_t enclosing = CheckedRange::no_span) {
  CheckedRange result;
  result.start = abi::to_gpa(abi::Pfn{pfn});
  result.bytes = static_cast<std::uint32_t>(abi::page_bytes << order);
  result.kind = kind;
  result.enclosing_span = enclosing;
  return result;
}

struct Runs {
  std::unique_ptr<vmm::CoalescedRuns> runs = std::make_unique<vmm::CoalescedRuns>();
  explicit Runs(const std::vector<CheckedRange>& ranges, RunSelection selection = {}) {
    vmm::coalesce(ranges, selection, *runs);
  }
  [[nodiscard]] std::size_t size() const { return runs->runs().size(); }
  [[nodiscard]] std::uint64_t pfn(std::size_t i) const {
    return abi::to_pfn(runs->runs()[i].start).value;
  }
  [[nodiscard]] std::uint64_t frames(std::size_t i) const {
    return runs->runs()[i].bytes / abi::page_bytes;
  }
  [[nodiscard]] std::vector<std::uint16_t> members(std::size_t i) const {
    const auto members = runs->members(runs->runs()[i]);
    return {members.begin(), members.end()};
  }
};

using Members = std::vector<std::uint16_t>;

void insert_frames(std::set<std::uint64_t>& frames, abi::Gpa start, std::uint64_t bytes) {
  for (std::uint64_t pfn = abi::to_pfn(start).value; pfn < abi::to_pfn(start + bytes).value;
       ++pfn) {
    frames.insert(pfn);
  }
}

} // namespace

TEST_CASE("nothing makes no runs, one range makes one") {
  CHECK(Runs({}).size() == 0);
  const Runs one({range(7, 0)});
  REQUIRE(one.size() == 1);
  CHECK(one.pfn(0) == 7);
  CHECK(one.frames(0) == 1);
  CHECK(one.members(0) == Members{0});
}

TEST_CASE("neighbours merge in any order, a gap of one page separates") {
  const Runs runs({range(12, 2), range(8, 2), range(17, 0), range(16, 0), range(19, 0)});
  REQUIRE(runs.size() == 2);
  CHECK(runs.pfn(0) == 8);
  CHECK(runs.frames(0) == 10);
  CHECK(runs.members(0) == Members{1, 0, 3, 2});
  CHECK(runs.pfn(1) == 19);
  CHECK(runs.members(1) == Members{4});
}

TEST_CASE("an inner range does not shorten the run it lies in") {
  const Runs runs({range(0, 5), range(4, 0), range(32, 0)});
  REQUIRE(runs.size() == 1);
  CHECK(runs.frames(0) == 33);
}

TEST_CASE("equal ranges are all members of one run") {
  const Runs runs({range(4, 2), range(4, 2), range(4, 0), range(4, 2)});
  REQUIRE(runs.size() == 1);
  CHECK(runs.frames(0) == 4);
  CHECK(runs.members(0).size() == 4);
}

TEST_CASE("ranges that are not accepted take no part") {
  CheckedRange bad = range(5, 0);
  bad.fault = vmm::RangeFault::unaligned;
  const Runs runs({range(4, 0), bad, range(6, 0)});
  CHECK(runs.size() == 2);
}

TEST_CASE("a span is discarded whole or not at all") {
  const std::vector<CheckedRange> ranges = {range(512, 9, RangeKind::span),
                                            range(512, 0, RangeKind::hint, 0),
                                            range(600, 3, RangeKind::hint, 0), range(2000, 0)};
  const Runs whole(ranges);
  REQUIRE(whole.size() == 2);
  CHECK(whole.pfn(0) == 512);
  CHECK(whole.frames(0) == 512);
  CHECK(whole.members(0) == Members{0, 1, 2});
  const Runs hints(ranges, {SpanUse::hints_only, {}});
  REQUIRE(hints.size() == 3);
  CHECK(hints.members(0) == Members{1});
  CHECK(hints.members(1) == Members{2});
}

TEST_CASE("small hints are left out unless a large enough span covers them") {
  const std::vector<CheckedRange> ranges = {range(512, 9, RangeKind::span),
                                            range(512, 0, RangeKind::hint, 0),
                                            range(2048, 8),
                                            range(4096, 9),
                                            range(6144, 8, RangeKind::span),
                                            range(6145, 0, RangeKind::hint, 4)};
  const Runs whole(ranges, {SpanUse::whole, {9}});
  REQUIRE(whole.size() == 2);
  CHECK(whole.members(0) == Members{0, 1});
  CHECK(whole.members(1) == Members{3});
  const Runs hints(ranges, {SpanUse::hints_only, {9}});
  REQUIRE(hints.size() == 1);
  CHECK(hints.members(0) == Members{3});
}

TEST_CASE("a full batch of separate ranges, the last frame number included") {
  std::vector<CheckedRange> ranges;
  ranges.reserve(abi::max_batch_ranges);
  for (std::uint32_t i = 0; i < abi::max_batch_ranges; ++i) {
    ranges.push_back(range((std::uint64_t{1} << 40) - 1 - 2 * std::uint64_t{i}, 0));
  }
  const Runs runs(ranges);
  REQUIRE(runs.size() == abi::max_batch_ranges);
  CHECK(runs.members(511) == Members{0});
  CHECK(runs.members(0) == Members{511});
}

TEST_CASE("property: runs are the union of the ranges, disjoint, sorted, with a gap between") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    // From crowded (overlap everywhere) to sparse.
    const std::uint64_t frames = std::uint64_t{16} << (random() % 12);
    std::vector<CheckedRange> ranges;
    std::set<std::uint64_t> expected;
    std::size_t selected = 0;
    const RunSelection selection{random() % 2 == 0 ? SpanUse::whole : SpanUse::hints_only,
                                 {static_cast<std::uint8_t>(random() % 3)}};
    for (std::uint64_t n = random() % (abi::max_batch_ranges + 1); n > 0; --n) {
      const auto order = static_cast<unsigned>(random() % 5);
      const std::uint64_t pfn = (random() % frames) & ~((std::uint64_t{1} << order) - 1);
      const RangeKind kind = random() % 8 == 0 ? RangeKind::span : RangeKind::hint;
      ranges.push_back(range(pfn, order, kind));
      CheckedRange& added = ranges.back();
      if (random() % 5 == 0) {
        added.fault = vmm::RangeFault::bad_order;
      }
      if (added.accepted() && order >= selection.smallest.value &&
          (kind == RangeKind::hint || selection.span_use == SpanUse::whole)) {
        insert_frames(expected, added.start, added.bytes);
        ++selected;
      }
    }
    const Runs result(ranges, selection);

    std::set<std::uint64_t> covered;
    std::set<std::uint16_t> members;
    std::size_t member_count = 0;
    const vmm::Run* previous = nullptr;
    for (const vmm::Run& run : result.runs->runs()) {
      if (previous != nullptr) {
        REQUIRE(run.start > previous->start + previous->bytes);
      }
      previous = &run;
      insert_frames(covered, run.start, run.bytes);
      abi::Gpa last_start{0};
      for (const std::uint16_t member : result.runs->members(run)) {
        const CheckedRange& inner = ranges[member];
        REQUIRE(inner.start >= run.start);
        REQUIRE(inner.start + inner.bytes <= run.start + run.bytes);
        REQUIRE(inner.start >= last_start);
        last_start = inner.start;
        members.insert(member);
        ++member_count;
      }
    }
    REQUIRE(covered == expected);
    REQUIRE(members.size() == member_count); // nobody twice
    REQUIRE(member_count == selected);       // nobody missing
  }
}
