// SPDX-License-Identifier: MIT
// A Reporter over a small Buddy and one channel, with a host that answers when it is told to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/reporting/reporter.hpp"
#include "tests/support/fake_report_host.hpp"

namespace test_support {

inline constexpr std::uint64_t block_frames = 1U << abi::max_order;
inline constexpr std::uint64_t huge_frames = 512;

// RAM of 4 MiB blocks of which every second 2 MiB is held, so that nothing merges: each free of
// `free_one` makes exactly one range of order 9.
class ReporterFixture {
 public:
  explicit ReporterFixture(const abi::ReportPolicy& policy, std::uint32_t first_index = 0,
                           std::uint64_t blocks = 64, std::uint64_t timeout_ns = 0)
      : metadata_(guest::mm::Buddy::metadata_bytes({block_frames}, {block_frames * (1 + blocks)})),
        buddy({.first = {block_frames},
               .end = {block_frames * (1 + blocks)},
               .plugged_end = {block_frames * (1 + blocks)}},
              metadata_),
        channels(1) {
    abi::ChannelRings& rings = channels[0].rings;
    rings.submit_tail = rings.submit_head = first_index;
    rings.complete_tail = rings.complete_head = first_index;
    host = std::make_unique<FakeReportHost>(channels[0]);
    reporter = std::make_unique<guest::mm::Reporter>(
        buddy, channels.pointers(),
        guest::mm::ReportSettings{.policy = policy, .timeout_ns = timeout_ns}, latency);
    for (std::uint64_t block = 0; block < blocks; ++block) {
      free_later_.push_back(allocate());
      static_cast<void>(allocate());
    }
  }

  abi::Pfn allocate() {
    const guest::mm::BuddyAllocation got = buddy.allocate({9});
    REQUIRE(got.ok());
    return got.pfn;
  }
  abi::Pfn free_one(std::uint64_t now_ns = 0) {
    const abi::Pfn pfn = free_later_.back();
    free_later_.pop_back();
    REQUIRE(buddy.free(pfn, {9}) == guest::mm::FreeResult::ok);
    reporter->note_time_locked(now_ns);
    return pfn;
  }
  void free_many(unsigned count) {
    for (unsigned index = 0; index < count; ++index) {
      free_one();
    }
  }
  guest::mm::SubmitResult submit(std::uint64_t now_ns = 0,
                                 guest::mm::Urgency urgency = guest::mm::Urgency::busy) {
    return reporter->submit_locked(0, now_ns, urgency);
  }
  // Takes in all answers; returns how many fitted.
  unsigned drain(std::uint64_t now_ns = 0) {
    unsigned fitting = 0;
    for (guest::mm::AnswerKind kind{};
         (kind = reporter->take_answer_locked(0, now_ns)) != guest::mm::AnswerKind::none;) {
      fitting += kind == guest::mm::AnswerKind::fits ? 1 : 0;
    }
    return fitting;
  }
  abi::ChannelRings& rings() { return channels[0].rings; }

 private:
  std::vector<std::byte> metadata_;
  std::vector<abi::Pfn> free_later_;

 public:
  guest::mm::Buddy buddy;
  abi::LatencyHistogram latency;
  ChannelSet channels;
  std::unique_ptr<FakeReportHost> host;
  std::unique_ptr<guest::mm::Reporter> reporter;
};

} // namespace test_support
