// SPDX-License-Identifier: MIT
#include "guest/mm/page_allocator.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/adversarial_host.hpp"
#include "tests/support/fake_report_host.hpp"
#include "tests/support/no_allocation.hpp"

namespace {

using namespace guest::mm;
using test_support::ChannelSet;
using test_support::discard_all;
using test_support::FakeReportHost;

constexpr std::uint64_t block_frames = 1U << abi::max_order;
constexpr std::uint64_t second_ns = 1'000'000'000;

// A machine whose clock moves when somebody waits, and whose host does what the test says.
class FakePlatform final : public PagePlatform {
 public:
  std::function<void(unsigned)> on_doorbell = [](unsigned) {};
  std::function<void()> on_sleep = [] {}; // after which the sleep is over
  std::function<bool(abi::Gpa)> on_plug = [](abi::Gpa) { return false; };
  std::uint64_t time_ns = 1;
  unsigned doorbells = 0;
  std::uint64_t spun_ns = 0;
  std::vector<unsigned> woken;
  std::vector<std::pair<abi::Gpa, std::uint64_t>> prefaults;

  void ring_doorbell(unsigned channel) override {
    ++doorbells;
    on_doorbell(channel);
  }
  std::uint64_t now_ns() override { return time_ns; }
  bool plug(abi::Gpa next) override { return on_plug(next); }
  void prefault(abi::Gpa start, std::uint64_t bytes) override {
    prefaults.emplace_back(start, bytes);
  }
  void relax() override { time_ns += 50; }
  void nap(std::uint64_t ns) override { time_ns += ns; }
  void count_spinning(std::uint64_t ns) override { spun_ns += ns; }
  void sleep_until(unsigned, std::uint64_t deadline_ns) override {
    time_ns = std::min(deadline_ns, time_ns + second_ns / 100);
    on_sleep();
  }
  void wake(unsigned vcpu) override { woken.push_back(vcpu); }
};

struct Setup {
  std::uint64_t blocks = 4; // of 4 MiB
  unsigned vcpus = 1;
  abi::ReportPolicy policy{};
  std::uint64_t plugged_frames = ~std::uint64_t{0} >> 20;
  std::uint64_t plug_frames = 0;
  FrameHole hole{};
  std::uint64_t timeout_ns = 0;
  std::optional<abi::Order> prefault{};
};

class Fixture {
 public:
  explicit Fixture(const Setup& setup)
      : channels(setup.vcpus),
        metadata_(Buddy::metadata_bytes({block_frames}, {block_frames * (1 + setup.blocks)})),
        pages(std::make_unique<PageAllocator>(
            static_cast<PagePlatform&>(platform),
            PageAllocatorConfig{.first = {block_frames},
                                .end = {block_frames * (1 + setup.blocks)},
                                .plugged_end = {block_frames + setup.plugged_frames},
                                .plug_frames = setup.plug_frames,
                                .hole = setup.hole,
                                .policy = setup.policy,
                                .timeout_ns = setup.timeout_ns,
                                .control = &control,
                                .prefault = setup.prefault},
            metadata_, channels.pointers(), status)) {
    for (abi::Channel* channel : channels.pointers()) {
      hosts.emplace_back(*channel);
    }
  }

  void answer_at_doorbell() {
    platform.on_doorbell = [this](unsigned channel) { hosts[channel].serve(discard_all); };
  }
  abi::Pfn allocate(unsigned order, unsigned vcpu = 0) {
    const Allocation got = pages->allocate(vcpu, {static_cast<std::uint8_t>(order)});
    REQUIRE(got.ok());
    return got.pfn;
  }
  void free(abi::Pfn pfn, unsigned order, unsigned vcpu = 0) {
    REQUIRE(pages->free(vcpu, pfn, {static_cast<std::uint8_t>(order)}) == FreeResult::ok);
  }

  abi::GuestStatus status; // first, because of its alignment
  FakePlatform platform;
  ChannelSet channels;
  abi::ReportControl control;
  std::vector<FakeReportHost> hosts;

 private:
  std::vector<std::byte> metadata_;

 public:
  std::unique_ptr<PageAllocator> pages;
};

} // namespace

TEST_CASE("double and wild frees are caught in the cache and behind it") {
  Fixture fixture({.vcpus = 2});
  PageAllocator& pages = *fixture.pages;
  const abi::Pfn small = fixture.allocate(1);
  const abi::Pfn large = fixture.allocate(6);
  CHECK(pages.free(0, small, {0}) == FreeResult::wrong_order);
  CHECK(pages.free(0, small, {5}) == FreeResult::wrong_order);
  CHECK(pages.free(0, {1}, {0}) == FreeResult::out_of_range);
  CHECK(pages.free(0, small, {200}) == FreeResult::wrong_order);
  fixture.free(small, 1);
  CHECK(pages.free(0, small, {1}) == FreeResult::not_allocated); // cached
  CHECK(pages.free(1, small, {1}) == FreeResult::not_allocated); // on another vCPU
  fixture.free(large, 6);
  CHECK(pages.free(0, large, {6}) == FreeResult::not_allocated);
  static_cast<void>(pages.idle(0));
  CHECK(pages.free(0, small, {1}) == FreeResult::not_allocated); // back in the buddy
  CHECK_FALSE(pages.allocate(0, {11}).ok());
}

TEST_CASE("allocated_order knows owned blocks only") {
  Fixture fixture({});
  const abi::Pfn block = fixture.allocate(2);
  CHECK(fixture.pages->allocated_order(block) == abi::Order{2});
  CHECK_FALSE(fixture.pages->allocated_order(block + 1).has_value());
  CHECK_FALSE(fixture.pages->allocated_order({0}).has_value());
  CHECK_FALSE(fixture.pages->allocated_order({~std::uint64_t{0}}).has_value());
  fixture.free(block, 2);
  CHECK_FALSE(fixture.pages->allocated_order(block).has_value());
}

TEST_CASE("pages that were only ever in a cache are never hinted") {
  Fixture fixture({.policy = {.order = 0}});
  fixture.answer_at_doorbell();
  const abi::Pfn page = fixture.allocate(0); // refills the cache beside it
  fixture.free(page, 0);
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.status.hinted_bytes == abi::page_bytes);
  CHECK(fixture.status.cached_bytes == 0);
  // Reported memory that only passed through the cache does not count as used again.
  const abi::Pfn again = fixture.allocate(0);
  CHECK(again == page);
  CHECK(fixture.status.reused_bytes == abi::page_bytes);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.reused_bytes == abi::page_bytes);
  fixture.free(again, 0);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.hinted_bytes == 2 * abi::page_bytes);
  CHECK(fixture.status.redundant_bytes == 0);
}

TEST_CASE("a block part reported, part never used comes out of a cache as it went in") {
  Fixture fixture({.policy = {.order = 0}});
  fixture.answer_at_doorbell();
  std::vector<abi::Pfn> pages;
  for (unsigned count = 0; count < 17; ++count) {
    pages.push_back(fixture.allocate(0));
  }
  for (unsigned count = 8; count < 17; ++count) {
    fixture.free(pages[count], 0);
  }
  static_cast<void>(fixture.pages->idle(0)); // of pages 16 to 23 the first alone was ever used
  const std::uint64_t never_used = fixture.pages->buddy().never_used_frames();
  CHECK(fixture.allocate(3) == pages[8]); // and takes pages 16 to 23 into the cache
  CHECK(fixture.status.reused_bytes == 9 * abi::page_bytes);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.reused_bytes == 8 * abi::page_bytes);
  CHECK(fixture.pages->buddy().never_used_frames() == never_used);
}

TEST_CASE("the status page adds up") {
  Fixture fixture({.policy = {.order = 3}});
  fixture.answer_at_doorbell();
  std::vector<abi::Pfn> held;
  held.reserve(200);
  for (unsigned count = 0; count < 200; ++count) {
    held.push_back(fixture.allocate(count % 5));
  }
  for (unsigned count = 0; count < 150; ++count) {
    fixture.free(held[count], count % 5);
  }
  static_cast<void>(fixture.pages->idle(0));
  const abi::GuestStatus& status = fixture.status;
  const std::uint64_t owned =
      (status.vcpu[0].allocated_frames - status.vcpu[0].freed_frames) * abi::page_bytes;
  CHECK(owned == std::uint64_t{10} * (1 + 2 + 4 + 8 + 16) * abi::page_bytes);
  CHECK(status.fresh_bytes + status.reported_bytes + status.isolated_bytes + status.cached_bytes +
            owned ==
        status.frontier_gpa - abi::to_gpa({block_frames}).value);
  CHECK(status.isolated_bytes == 0);
  CHECK(fixture.pages->last_buddy_free_ns() == fixture.platform.time_ns);
}

TEST_CASE("memory is plugged unit by unit, when it is needed") {
  Fixture fixture({.blocks = 4, .plugged_frames = 512, .plug_frames = 512});
  std::vector<std::uint64_t> plugged;
  fixture.platform.on_plug = [&](abi::Gpa next) {
    plugged.push_back(abi::to_pfn(next).value);
    return plugged.size() < 4;
  };
  static_cast<void>(fixture.allocate(9));
  CHECK(plugged.empty());
  static_cast<void>(fixture.allocate(10));
  CHECK(plugged ==
        std::vector<std::uint64_t>{block_frames + 512, 2 * block_frames, 2 * block_frames + 512});
  static_cast<void>(fixture.allocate(9)); // left of the unit that completed the first block
  CHECK_FALSE(fixture.pages->allocate(0, {9}).ok()); // the host refuses
  CHECK(plugged.back() == 3 * block_frames);
  CHECK(fixture.status.oom_waits == 0);
}

TEST_CASE("an allocation that finds nothing gets what other vCPUs have cached") {
  Fixture fixture({.blocks = 1, .vcpus = 3});
  for (unsigned count = 0; count < block_frames; ++count) {
    static_cast<void>(fixture.allocate(0, count % 3));
  }
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  const abi::Pfn pair{block_frames + 10}; // every page of the block is owned
  fixture.free(pair, 0, 2);
  fixture.free(pair + 1, 0, 1);
  CHECK(fixture.allocate(1) == pair); // merged from two caches
}

TEST_CASE("large blocks that the host took come with memory behind them") {
  Fixture fixture({.blocks = 1, .policy = {.order = 0, .batch = 1}, .prefault = abi::Order{4}});
  fixture.answer_at_doorbell();
  const auto& prefaults = fixture.platform.prefaults;
  const abi::Pfn block = fixture.allocate(10);
  CHECK(prefaults.empty()); // the host never had it
  fixture.free(block, 10);

  const abi::Pfn large = fixture.allocate(5);
  REQUIRE(prefaults.size() == 1);
  CHECK(prefaults[0] == std::pair(abi::to_gpa(large), abi::Order{5}.bytes()));
  static_cast<void>(fixture.allocate(3)); // from a cache
  CHECK(prefaults.size() == 1);
  const abi::Pfn smallest = fixture.allocate(4);
  REQUIRE(prefaults.size() == 2);
  CHECK(prefaults[1] == std::pair(abi::to_gpa(smallest), abi::Order{4}.bytes()));
}

TEST_CASE("a block that stayed with the guest is not asked for") {
  Fixture fixture({.blocks = 1, .policy = {.enabled = 0}, .prefault = abi::Order{4}});
  const abi::Pfn block = fixture.allocate(6);
  fixture.free(block, 6);
  CHECK(fixture.allocate(6) == block);
  CHECK(fixture.platform.prefaults.empty());
}

TEST_CASE("nothing is prefaulted unless asked for") {
  Fixture fixture({.blocks = 1, .policy = {.order = 0, .batch = 1}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  static_cast<void>(fixture.allocate(10));
  CHECK(fixture.platform.prefaults.empty());
}

TEST_CASE("an allocation waits for ranges in flight") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}});
  const abi::Pfn block = fixture.allocate(10);
  fixture.free(block, 10); // submitted; the host is slow
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  unsigned waits = 0;
  fixture.platform.on_sleep = [&] {
    if (++waits == 5) {
      fixture.hosts[0].serve(discard_all);
    }
  };
  const Allocation got = fixture.pages->allocate(0, {0});
  CHECK(got.ok());
  CHECK(got.content == Content::zeroed);
  CHECK(waits == 5);
  CHECK(fixture.status.oom_waits == 1);
}

TEST_CASE("who waits for ranges in flight sleeps, with its channel's interrupt armed") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    CHECK(fixture.channels[0].rings.want_interrupt == 1);
    CHECK(fixture.platform.spun_ns == 0);
    if (++sleeps == 3) {
      fixture.hosts[0].serve(discard_all);
    }
  };
  CHECK(fixture.pages->allocate(0, {0}).ok());
  CHECK(sleeps == 3);
  CHECK(fixture.channels[0].rings.want_interrupt == 0);
  CHECK(fixture.platform.spun_ns == 0);
}

TEST_CASE("who waits for memory is woken by what another vCPU frees, and gets it") {
  Fixture fixture({.blocks = 2, .vcpus = 2, .policy = {.batch = 1}});
  const abi::Pfn in_flight = fixture.allocate(10);
  std::vector<abi::Pfn> singles;
  for (std::uint64_t page = 0; page < block_frames; ++page) {
    singles.push_back(fixture.allocate(0, 1));
  }
  fixture.free(in_flight, 10); // never answered
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    ++sleeps;
    fixture.free(singles.back(), 0, 1); // would lie in the other vCPU's cache otherwise
    singles.pop_back();
    CHECK(fixture.platform.woken == std::vector<unsigned>{0});
  };
  CHECK(fixture.pages->allocate(0, {0}).ok());
  CHECK(sleeps == 1);
  // And frees are cached again.
  fixture.free(singles.back(), 0, 1);
  static_cast<void>(fixture.allocate(0, 1));
  CHECK(fixture.platform.woken.size() == 1);
}

TEST_CASE("who waits for memory is woken by an answer that another vCPU takes in") {
  Fixture fixture({.blocks = 2, .vcpus = 2, .policy = {.batch = 1}});
  const abi::Pfn first = fixture.allocate(10, 0);
  const abi::Pfn second = fixture.allocate(10, 1);
  fixture.free(first, 10, 0);
  fixture.free(second, 10, 1);
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    if (++sleeps == 1) {
      fixture.hosts[1].serve(discard_all);
      static_cast<void>(fixture.pages->idle(1));
      CHECK(fixture.platform.woken == std::vector<unsigned>{0});
    }
  };
  CHECK(fixture.pages->allocate(0, {10}).ok());
  CHECK(sleeps == 1);
}

TEST_CASE("beside other vCPUs nobody who waits for memory sleeps for long") {
  Fixture fixture({.blocks = 1, .vcpus = 2, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t start_ns = fixture.platform.time_ns;
  unsigned sleeps = 0;
  fixture.platform.on_sleep = [&] {
    CHECK(fixture.platform.time_ns <= start_ns + ++sleeps * (second_ns / 100));
  };
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(sleeps >= 1000); // of 10 ms
}

TEST_CASE("a batch that is never answered is waited for once, and stays set aside") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t start_ns = fixture.platform.time_ns;
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.platform.time_ns - start_ns >= 10 * second_ns);
  CHECK(fixture.platform.time_ns - start_ns < 11 * second_ns);
  const std::uint64_t second_start_ns = fixture.platform.time_ns;
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.platform.time_ns == second_start_ns);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  fixture.hosts[0].serve(discard_all); // late, but in time for this one
  CHECK(fixture.pages->allocate(0, {0}).ok());
}

TEST_CASE("freeing goes on at a busy channel, and everything is reported later") {
  Fixture fixture({.blocks = 32, .policy = {.batch = 1}});
  std::vector<abi::Pfn> held;
  held.reserve(32);
  for (unsigned count = 0; count < 32; ++count) {
    held.push_back(fixture.allocate(10));
  }
  unsigned waits = 0;
  fixture.platform.on_sleep = [&] { ++waits; };
  for (const abi::Pfn block : held) {
    fixture.free(block, 10);
  }
  CHECK(waits == 0);
  CHECK(fixture.platform.doorbells == abi::ring_entries);
  CHECK(fixture.pages->reporter_counters().busy == 32 - abi::ring_entries);
  CHECK(fixture.status.fresh_bytes == (32 - abi::ring_entries) * block_frames * abi::page_bytes);
  CHECK(fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) ==
        QuiesceResult::timed_out);
  fixture.platform.on_sleep = [&] { fixture.hosts[0].serve(discard_all); };
  CHECK(fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) == QuiesceResult::settled);
  CHECK(fixture.status.fresh_bytes == 0);
  CHECK(fixture.status.isolated_bytes == 0);
  CHECK(fixture.status.hinted_bytes == 32 * block_frames * abi::page_bytes);
  CHECK(fixture.status.redundant_bytes == 0);
}

TEST_CASE("submitting takes no memory: every frame stays accounted for when none is free") {
  Fixture fixture({.blocks = 2, .policy = {.batch = 1}});
  const abi::Pfn first = fixture.allocate(10);
  static_cast<void>(fixture.allocate(10));
  const std::uint64_t frontier = fixture.status.frontier_gpa;
  fixture.free(first, 10);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  CHECK(fixture.status.fresh_bytes + fixture.status.reported_bytes == 0);
  CHECK(fixture.status.vcpu[0].allocated_frames == 2 * block_frames);
  CHECK(fixture.status.frontier_gpa == frontier);
}

TEST_CASE("idle: sends partial batches when the delay is over, and says when that is") {
  Fixture fixture({.policy = {.batch = 64, .delay_ns = 5000}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t freed_ns = fixture.platform.time_ns;
  CHECK(fixture.pages->idle(0) == freed_ns + 5000);
  CHECK(fixture.platform.doorbells == 0);
  fixture.platform.time_ns += 5000;
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.status.fresh_bytes == 0);
}

TEST_CASE("an idle vCPU takes in the answers of vCPUs that sleep") {
  Fixture fixture({.vcpus = 2, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10, 1), 10, 1);
  CHECK(fixture.pages->arm_interrupt(1));
  fixture.hosts[1].serve(discard_all);
  CHECK_FALSE(fixture.pages->arm_interrupt(1));
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.status.isolated_bytes == 0);
}

TEST_CASE("plug units inside the hole are skipped, one that the hole cuts is not") {
  // Units of 1.5 blocks; the hole takes blocks 3 and 4 (of those that begin at 1).
  constexpr std::uint64_t unit = block_frames * 3 / 2;
  Fixture fixture({.blocks = 8,
                   .plugged_frames = unit,
                   .plug_frames = unit,
                   .hole = {.start = {3 * block_frames}, .end = {5 * block_frames}}});
  std::vector<std::uint64_t> plugged;
  fixture.platform.on_plug = [&](abi::Gpa next) {
    plugged.push_back(abi::to_pfn(next).value);
    return true;
  };
  std::vector<std::uint64_t> got;
  got.reserve(6);
  for (unsigned block = 0; block < 6; ++block) {
    got.push_back(fixture.allocate(10).value / block_frames);
  }
  CHECK(got == std::vector<std::uint64_t>{1, 2, 5, 6, 7, 8});
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(plugged == std::vector<std::uint64_t>{block_frames + unit, block_frames + 2 * unit,
                                              block_frames + 3 * unit, block_frames + 4 * unit,
                                              block_frames + 5 * unit});

  Fixture whole({.blocks = 8,
                 .plugged_frames = 2 * block_frames,
                 .plug_frames = block_frames,
                 .hole = {.start = {3 * block_frames}, .end = {5 * block_frames}}});
  plugged.clear();
  whole.platform.on_plug = fixture.platform.on_plug;
  for (unsigned block = 0; block < 3; ++block) {
    static_cast<void>(whole.allocate(10));
  }
  CHECK(plugged == std::vector<std::uint64_t>{5 * block_frames});
}

TEST_CASE("what is overdue is not waited for: not by an allocation, nor by quiesce") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}, .timeout_ns = second_ns});
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t start_ns = fixture.platform.time_ns;
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.platform.time_ns - start_ns >= second_ns);
  CHECK(fixture.platform.time_ns - start_ns < 2 * second_ns);
  CHECK(fixture.status.oom_waits == 1);
  CHECK(fixture.status.oom_failures == 0); // nothing was left to wait for
  CHECK(fixture.status.quarantined_bytes == block_frames * abi::page_bytes);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  CHECK(fixture.status.max_in_flight_bytes == block_frames * abi::page_bytes);
  std::uint64_t waits = 0;
  for (const std::uint32_t count : fixture.status.oom_wait.counts) {
    waits += count;
  }
  CHECK(waits == 1);
  const std::uint64_t quiesce_ns = fixture.platform.time_ns;
  CHECK(fixture.pages->quiesce(0, quiesce_ns + 100 * second_ns) == QuiesceResult::settled);
  CHECK(fixture.platform.time_ns == quiesce_ns);
  fixture.hosts[0].serve(discard_all); // late
  CHECK(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.status.late_answers == 1);
  CHECK(fixture.status.quarantined_bytes == 0);
}

TEST_CASE("an answer that came in time but was looked at late is no late answer") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}, .timeout_ns = second_ns});
  fixture.free(fixture.allocate(10), 10);
  fixture.hosts[0].serve(discard_all);
  fixture.platform.time_ns += 100 * second_ns;
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.status.late_answers == 0);
  CHECK(fixture.status.quarantined_bytes == 0);
}

TEST_CASE("patience without a timeout ends all the same, and counts as false out-of-memory") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  CHECK_FALSE(fixture.pages->allocate(0, {0}).ok());
  CHECK(fixture.status.oom_failures == 1);
  CHECK(fixture.status.quarantined_bytes == 0);
}

TEST_CASE("quiesce gives up at once when quarantined batches block the channel") {
  Fixture fixture({.blocks = 32, .policy = {.batch = 1}, .timeout_ns = second_ns});
  std::vector<abi::Pfn> held;
  held.reserve(abi::ring_entries + 1);
  for (unsigned count = 0; count <= abi::ring_entries; ++count) {
    held.push_back(fixture.allocate(10));
  }
  for (const abi::Pfn block : held) {
    fixture.free(block, 10);
  }
  fixture.platform.time_ns += 2 * second_ns;
  const std::uint64_t start_ns = fixture.platform.time_ns;
  CHECK(fixture.pages->quiesce(0, start_ns + 100 * second_ns) == QuiesceResult::timed_out);
  CHECK(fixture.platform.time_ns == start_ns);
  CHECK(fixture.status.quarantined_bytes == abi::ring_entries * block_frames * abi::page_bytes);
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
}

TEST_CASE("memory in the caches is not hinted away from an allocation that needs it") {
  Fixture fixture({.blocks = 1, .policy = {.order = 0, .batch = 1}});
  for (unsigned count = 0; count < block_frames; ++count) {
    static_cast<void>(fixture.allocate(0));
  }
  fixture.free({block_frames}, 0);
  fixture.free({block_frames + 1}, 0);
  CHECK(fixture.pages->allocate(0, {1}).ok());
  CHECK(fixture.platform.doorbells == 0);
  CHECK(fixture.status.oom_waits == 0);
}

TEST_CASE("answers to a vCPU that never comes by are taken in by those who do") {
  Fixture fixture({.blocks = 2, .vcpus = 3, .policy = {.batch = 1}});
  const abi::Pfn first = fixture.allocate(10, 1);
  const abi::Pfn second = fixture.allocate(10, 2);
  fixture.free(first, 10, 1);
  fixture.free(second, 10, 2);
  fixture.hosts[1].serve(discard_all);
  CHECK(fixture.allocate(9, 0) == first); // on the slow path of another
  fixture.hosts[2].serve(discard_all);
  fixture.free(first, 9, 0);
  // What vCPU 0 has just sent: a span of one block, instead of that and the other vCPU's.
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
}

TEST_CASE("the host re-tunes a running guest at its next slow path") {
  Fixture fixture({.policy = {.enabled = 0, .batch = 1}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  CHECK(fixture.platform.doorbells == 0);
  test_support::write_control(fixture.control, {.batch = 1}, 0);
  static_cast<void>(fixture.pages->idle(0));
  CHECK(fixture.platform.doorbells == 1);
  test_support::write_control(fixture.control, {.enabled = 0}, 0);
  fixture.free(fixture.allocate(10), 10);
  CHECK(fixture.platform.doorbells == 1);
  fixture.pages->retune({.policy = {.batch = 1}});
  fixture.free(fixture.allocate(10), 10);
  CHECK(fixture.platform.doorbells == 2);
}

TEST_CASE("each: frees go past the cache, one doorbell a page; switching back uses it again") {
  Fixture fixture({.policy = {.order = 0, .strategy = abi::ReportStrategy::each}});
  fixture.answer_at_doorbell();
  std::vector<abi::Pfn> held;
  held.reserve(10);
  for (unsigned count = 0; count < 10; ++count) {
    held.push_back(fixture.allocate(0));
  }
  for (const abi::Pfn page : held) {
    fixture.free(page, 0);
    CHECK(fixture.pages->free(0, page, {0}) == FreeResult::not_allocated);
  }
  CHECK(fixture.platform.doorbells == 10);
  CHECK(fixture.status.hinted_bytes == 10 * abi::page_bytes);
  CHECK(fixture.status.redundant_bytes == 0);
  fixture.pages->retune({.policy = {.order = 0}});
  fixture.free(fixture.allocate(0), 0);
  CHECK(fixture.platform.doorbells == 10);
}

TEST_CASE("scan: idle tells when the pass is, and runs it") {
  Fixture fixture({.policy = {.strategy = abi::ReportStrategy::scan}});
  fixture.answer_at_doorbell();
  fixture.free(fixture.allocate(10), 10);
  const std::uint64_t pass_ns = fixture.platform.time_ns + ScanSchedule::delay_ns;
  CHECK(fixture.pages->idle(0) == pass_ns);
  CHECK(fixture.platform.doorbells == 0);
  fixture.platform.time_ns = pass_ns;
  CHECK(fixture.pages->idle(0) == PageAllocator::never);
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.pages->channel_counters(0).batches == 1);
}

TEST_CASE("reporting goes on when nothing can be allocated, by anybody") {
  for (const auto strategy :
       {abi::ReportStrategy::batch, abi::ReportStrategy::each, abi::ReportStrategy::scan,
        abi::ReportStrategy::decay, abi::ReportStrategy::adaptive}) {
    CAPTURE(static_cast<unsigned>(strategy));
    Fixture fixture({.blocks = 2,
                     .policy = {.order = 0, .batch = 4, .strategy = strategy},
                     .timeout_ns = second_ns});
    fixture.platform.on_doorbell = [&](unsigned channel) {
      const test_support::AllocationAllowed host;
      fixture.hosts[channel].serve(discard_all);
    };
    for (unsigned count = 0; count < 2 * block_frames; ++count) {
      static_cast<void>(fixture.allocate(0));
    }
    REQUIRE_FALSE(fixture.pages->allocate(0, {0}).ok());
    std::uint64_t failures = 0;
    {
      const test_support::AllocationForbidden guest;
      for (std::uint64_t frame = 0; frame < block_frames; ++frame) {
        failures +=
            fixture.pages->free(0, {block_frames + 2 * frame}, {0}) == FreeResult::ok ? 0U : 1U;
        fixture.platform.time_ns += second_ns / 100;
      }
      static_cast<void>(fixture.pages->idle(0));
      failures +=
          fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) == QuiesceResult::settled
              ? 0U
              : 1U;
    }
    CHECK(failures == 0);
    CHECK(fixture.status.hinted_bytes == block_frames * abi::page_bytes);
    CHECK(fixture.status.reported_bytes == block_frames * abi::page_bytes);
  }
}

TEST_CASE("the most that was live is told, whatever was freed since") {
  Fixture fixture({.blocks = 4, .vcpus = 2});
  std::vector<abi::Pfn> blocks;
  for (unsigned index = 0; index < 200; ++index) {
    const Allocation got = fixture.pages->allocate(index % 2, abi::Order{2});
    REQUIRE(got.ok());
    blocks.push_back(got.pfn);
  }
  for (const abi::Pfn block : blocks) {
    REQUIRE(fixture.pages->free(0, block, abi::Order{2}) == FreeResult::ok); // from either vCPU
  }
  const std::uint64_t peak = 200 * abi::Order{2}.bytes();
  CHECK(fixture.status.live_high_bytes <= peak);
  CHECK(fixture.status.live_high_bytes + 2 * 16 * abi::page_bytes > peak);
}
