// SPDX-License-Identifier: MIT
#include "guest/linux/memory/page_frames.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/linux/still_machine.hpp"

#include <doctest/doctest.h>

#include "tests/support/fake_report_host.hpp"
#include "tests/support/still_platform.hpp"

namespace {

using guest::linux::PageFrames;
using guest::mm::PageAllocator;
using test_support::ChannelSet;
using test_support::discard_all;
using test_support::FakeReportHost;

constexpr std::uint64_t block_frames = 1U << abi::max_order;

// A host that answers in the doorbell.
class Platform final : public test_support::StillPlatform {
 public:
  FakeReportHost* host = nullptr;

  void ring_doorbell(unsigned /*channel*/) override {
    if (host != nullptr) {
      host->serve(discard_all);
    }
  }
};

// Which frames a program has written to since they were last zeroed.
class Content final : public guest::linux::FrameContent {
 public:
  void zero(abi::Pfn first, std::uint64_t count) override {
    zeroed += count;
    for (std::uint64_t frame = 0; frame < count; ++frame) {
      dirty[first.value + frame] = false;
    }
  }
  void copy(std::uint64_t /*to*/, std::uint64_t /*from*/, std::uint64_t bytes) override {
    copied += bytes;
  }
  void write(abi::Gpa /*to*/, std::span<const std::byte> from) override { copied += from.size(); }
  std::map<std::uint64_t, bool> dirty;
  std::uint64_t zeroed = 0;
  std::uint64_t copied = 0;
};

struct Fixture {
  explicit Fixture(std::uint64_t blocks = 8)
      : metadata(guest::mm::Buddy::metadata_bytes({block_frames}, {block_frames * (1 + blocks)})),
        pages(platform,
              {.first = {block_frames},
               .end = {block_frames * (1 + blocks)},
               .plugged_end = {block_frames * (1 + blocks)},
               .policy = {}},
              metadata, channels.pointers(), status),
        host(channels[0]) {
    platform.host = &host;
  }

  ChannelSet channels{1};
  std::vector<std::byte> metadata;
  abi::GuestStatus status{};
  Platform platform;
  PageAllocator pages;
  FakeReportHost host;
  Content content;
  test_support::StillMachine machine;
  PageFrames frames{pages, content, machine};

  [[nodiscard]] std::uint64_t live() const {
    return status.vcpu[0].allocated_frames - status.vcpu[0].freed_frames;
  }
};

} // namespace

TEST_CASE("as many frames as asked for, and no more, are live") {
  Fixture f;
  const auto small = f.frames.allocate(5);
  REQUIRE(small);
  CHECK(f.live() == 5);
  const auto large = f.frames.allocate(2 * block_frames + 3);
  REQUIRE(large);
  CHECK(f.live() == 2 * block_frames + 8);
  f.frames.release(*large, 2 * block_frames + 3);
  f.frames.release(*small, 5);
  CHECK(f.live() == 0);
  CHECK_FALSE(f.frames.allocate(9 * block_frames));
  CHECK(f.frames.allocate(7 * block_frames));
}

TEST_CASE("a claim is all or nothing") {
  Fixture f;
  const abi::Pfn first{block_frames + 100};
  REQUIRE(f.frames.claim(first, 3000));
  CHECK(f.live() == 3000);
  CHECK_FALSE(f.frames.claim({block_frames}, 101));
  CHECK_FALSE(f.frames.claim(first + 2999, 50));
  CHECK(f.live() == 3000);
  CHECK(f.frames.claim({block_frames}, 100));
  CHECK(f.frames.claim(first + 3000, 50));
  CHECK_FALSE(f.frames.claim({block_frames * 9 - 1}, 2)); // beyond the end
  CHECK(f.live() == 3150);
}

TEST_CASE("never used memory is not zeroed, used memory is") {
  Fixture f;
  const auto first = f.frames.allocate(16);
  REQUIRE(first);
  CHECK(f.content.zeroed == 0);
  f.frames.release(*first, 16);
  REQUIRE(f.frames.claim(*first, 16));
  CHECK(f.content.zeroed == 16);
}

TEST_CASE("renewing a little zeroes it, renewing much has the host take it") {
  Fixture f;
  REQUIRE(f.frames.claim({2 * block_frames}, 2 * block_frames));
  f.frames.renew({2 * block_frames + 7}, 3);
  CHECK(f.content.zeroed == 3);
  CHECK(f.status.hinted_bytes == 0);
  f.frames.renew({2 * block_frames}, block_frames);
  CHECK(f.content.zeroed == 3); // the host has done the rest
  CHECK(f.status.hinted_bytes == block_frames * abi::page_bytes);
  CHECK(f.live() == 2 * block_frames);
}

TEST_CASE("what is free is counted, and a copy is of whole pages") {
  Fixture f;
  CHECK(f.frames.count() == 8 * block_frames);
  CHECK(f.frames.free_count() == 8 * block_frames);
  REQUIRE(f.frames.claim({3 * block_frames}, 100));
  CHECK(f.frames.free_count() == 8 * block_frames - 100);
  f.frames.release({3 * block_frames}, 100);
  CHECK(f.frames.free_count() <= 8 * block_frames);
  CHECK(f.frames.free_count() >= 8 * block_frames - 100); // caches hold some
  f.frames.copy(0x5000, 0x8000, 3);
  CHECK(f.content.copied == 3 * abi::page_bytes);
}

TEST_CASE("random ranges: what is released can be claimed, what is not cannot") {
  std::mt19937 random(5); // NOLINT(cert-msc*): the same every time
  Fixture f(3);
  std::vector<bool> used(block_frames * 4);
  std::uint64_t count_used = 0;
  for (unsigned step = 0; step < 3000; ++step) {
    const std::uint64_t first = block_frames + random() % (3 * block_frames - 300);
    const std::uint64_t count = 1 + random() % 299;
    bool all_free = true;
    bool all_used = true;
    for (std::uint64_t frame = first; frame < first + count; ++frame) {
      all_free = all_free && !used[frame];
      all_used = all_used && used[frame];
    }
    if (all_used) {
      f.frames.release({first}, count);
    } else {
      REQUIRE(f.frames.claim({first}, count) == all_free);
      if (!all_free) {
        // Makes room for the next rounds: whatever of it is used goes.
        for (std::uint64_t frame = first; frame < first + count; ++frame) {
          if (used[frame]) {
            f.frames.release({frame}, 1);
            used[frame] = false;
            --count_used;
          }
        }
        REQUIRE(f.live() == count_used);
        continue;
      }
    }
    for (std::uint64_t frame = first; frame < first + count; ++frame) {
      used[frame] = !all_used;
    }
    count_used = all_used ? count_used - count : count_used + count;
    REQUIRE(f.live() == count_used);
  }
}
