// SPDX-License-Identifier: MIT
// Replays recorded page allocations of real programs and checks how much memory stays resident
// beyond what is live. The limits sit a little above what the allocator's placement reaches; a
// buddy that takes the smallest block wherever it lies stays at 1.154 (cxx) and 1.265 (sqlite) at
// order 9.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/buddy/buddy.hpp"
#include "guest/mm/page_allocator.hpp"
#include "tests/support/fake_report_host.hpp"
#include "tests/support/footprint.hpp"
#include "tests/support/page_trace.hpp"
#include "tests/support/still_platform.hpp"

#ifndef EBB_TRACE_DIR
#define EBB_TRACE_DIR "tests/traces"
#endif

namespace {

using namespace guest::mm;
using test_support::Footprint;
using test_support::PageTrace;

constexpr abi::Pfn ram_first{512};
constexpr abi::Pfn ram_end{512 + (std::uint64_t{2} << 30 >> abi::page_shift)};

struct Limit {
  std::string trace;
  unsigned order;
  double ratio;
};
const Limit limits[] = {
    {"cxx", 9, 1.14},    {"sqlite", 9, 1.04}, {"cxx", 4, 1.09},
    {"sqlite", 4, 1.01}, {"redis", 4, 1.14},
};

// As REQUIRE, for what runs millions of times.
void must(bool condition) {
  if (!condition) {
    FAIL("an operation of the replay failed");
  }
}

PageTrace load(const std::string& name) {
  return test_support::read_page_trace(std::filesystem::path(EBB_TRACE_DIR) / (name + ".pgt.xz"));
}

// Feeds a trace to an allocator: Target has allocate(Order) -> Pfn, free(Pfn, Order) and
// elapse(us), which is called before each event.
template <typename Target> void replay(const PageTrace& trace, Target& target) {
  std::vector<abi::Pfn> where(trace.blocks);
  for (const test_support::PageTraceEvent event : trace.events) {
    target.elapse(event.gap_us());
    const abi::Order order{static_cast<std::uint8_t>(event.order())};
    if (event.is_free()) {
      target.free(where[event.block()], order);
    } else {
      where[event.block()] = target.allocate(order);
    }
  }
}

void discard_hints(Footprint& footprint, abi::RangeDescriptor range) {
  if (range.kind() == abi::RangeKind::hint) {
    footprint.discarded(range.pfn(), range.order());
  }
}

// The Buddy alone: whatever is reportable is discarded at once.
class BareBuddy {
 public:
  explicit BareBuddy(abi::Order order)
      : metadata_(Buddy::metadata_bytes(ram_first, ram_end)),
        buddy_({.first = ram_first, .end = ram_end, .plugged_end = ram_end, .report_order = order},
               metadata_),
        footprint_(ram_end), ranges_(abi::max_batch_ranges) {
    for (std::uint32_t index = 0; index < abi::max_batch_ranges; ++index) {
      all_discarded_.set_outcome(index, abi::Outcome::discarded);
    }
  }

  abi::Pfn allocate(abi::Order order) {
    const BuddyAllocation got = buddy_.allocate(order);
    must(got.ok());
    footprint_.allocated(got.pfn, order);
    return got.pfn;
  }
  void free(abi::Pfn pfn, abi::Order order) {
    must(buddy_.free(pfn, order) == FreeResult::ok);
    footprint_.freed(order);
    while (buddy_.fresh_frames_at_or_above_report_order() != 0) {
      const IsolatedBatch batch = buddy_.isolate(1, 0, ranges_);
      must(batch.descriptors != 0);
      const auto ranges = std::span(ranges_).first(batch.descriptors);
      for (const abi::RangeDescriptor range : ranges) {
        discard_hints(footprint_, range);
      }
      buddy_.acknowledge(ranges, all_discarded_);
      hints_ += batch.hints;
    }
  }
  void elapse(std::uint64_t us) { footprint_.advance(us); }

  [[nodiscard]] const Footprint& footprint() const { return footprint_; }
  [[nodiscard]] const Buddy& buddy() const { return buddy_; }
  [[nodiscard]] std::uint64_t hints() const { return hints_; }

 private:
  std::vector<std::byte> metadata_;
  Buddy buddy_;
  Footprint footprint_;
  std::vector<abi::RangeDescriptor> ranges_;
  abi::CompletionEntry all_discarded_;
  std::uint64_t hints_ = 0;
};

// The whole allocator with a synchronous host, as a guest runs it: idle whenever the recorded
// program paused.
class WholeAllocator final : public test_support::StillPlatform {
 public:
  explicit WholeAllocator(unsigned order)
      : channels_(1), host_(channels_[0]), metadata_(Buddy::metadata_bytes(ram_first, ram_end)),
        footprint_(ram_end),
        pages_(std::make_unique<PageAllocator>(static_cast<PagePlatform&>(*this),
                                               PageAllocatorConfig{.first = ram_first,
                                                                   .end = ram_end,
                                                                   .plugged_end = ram_end,
                                                                   .policy = {.order = order}},
                                               metadata_, channels_.pointers(), status_)) {}

  abi::Pfn allocate(abi::Order order) {
    const Allocation got = pages_->allocate(0, order);
    must(got.ok());
    footprint_.allocated(got.pfn, order);
    return got.pfn;
  }
  void free(abi::Pfn pfn, abi::Order order) {
    footprint_.freed(order);
    must(pages_->free(0, pfn, order) == FreeResult::ok);
  }
  void elapse(std::uint64_t us) {
    constexpr std::uint64_t idle_gap_us = 50;
    if (us >= idle_gap_us) {
      must(pages_->idle(0) == PageAllocator::never);
    }
    now_ns_ += us * 1000;
    footprint_.advance(us);
  }

  [[nodiscard]] const Footprint& footprint() const { return footprint_; }
  [[nodiscard]] const abi::GuestStatus& status() const { return status_; }

 private:
  void ring_doorbell(unsigned) override {
    host_.serve([this](abi::RangeDescriptor range) {
      discard_hints(footprint_, range);
      return abi::Outcome::discarded;
    });
  }
  std::uint64_t now_ns() override { return now_ns_; }

  test_support::ChannelSet channels_;
  test_support::FakeReportHost host_;
  std::vector<std::byte> metadata_;
  Footprint footprint_;
  abi::GuestStatus status_;
  std::uint64_t now_ns_ = 1;
  std::unique_ptr<PageAllocator> pages_;
};

} // namespace

TEST_CASE("footprint of recorded programs: every reportable block discarded at once") {
  for (const Limit& limit : limits) {
    CAPTURE(limit.trace);
    CAPTURE(limit.order);
    BareBuddy target(abi::Order{static_cast<std::uint8_t>(limit.order)});
    replay(load(limit.trace), target);
    MESSAGE(limit.trace << " order " << limit.order << ": ratio " << target.footprint().ratio()
                        << ", final MiB " << (target.footprint().resident_frames() >> 8)
                        << ", hints " << target.hints());
    CHECK(target.footprint().ratio() <= limit.ratio);
    CHECK(target.buddy().redundant_frames() == 0);
  }
}

TEST_CASE("footprint of recorded programs: whole allocator, reporting when idle") {
  for (const Limit& limit : limits) {
    CAPTURE(limit.trace);
    CAPTURE(limit.order);
    WholeAllocator target(limit.order);
    replay(load(limit.trace), target);
    const abi::GuestStatus& status = target.status();
    MESSAGE(limit.trace << " order " << limit.order << ": ratio " << target.footprint().ratio()
                        << ", final MiB " << (target.footprint().resident_frames() >> 8)
                        << ", hints " << status.hinted_ranges << " in " << status.hinted_batches
                        << " batches, reused MiB " << (status.reused_bytes >> 20));
    CHECK(target.footprint().ratio() <= limit.ratio);
    CHECK(status.redundant_bytes == 0);
  }
}
