// SPDX-License-Identifier: MIT
#include "guest/mm/page_allocator.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/fake_report_host.hpp"

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
  std::function<void()> on_relax = [] {};
  std::function<bool(abi::Gpa)> on_plug = [](abi::Gpa) { return false; };
  std::uint64_t time_ns = 1;
  unsigned doorbells = 0;

  void ring_doorbell(unsigned channel) override {
    ++doorbells;
    on_doorbell(channel);
  }
  std::uint64_t now_ns() override { return time_ns; }
  bool plug(abi::Gpa next) override { return on_plug(next); }
  void relax() override {
    time_ns += second_ns / 100;
    on_relax();
  }
};

struct Setup {
  std::uint64_t blocks = 4; // of 4 MiB
  unsigned vcpus = 1;
  abi::ReportPolicy policy{};
  std::uint64_t plugged_frames = ~std::uint64_t{0} >> 20;
  std::uint64_t plug_frames = 0;
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
                                .policy = setup.policy},
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

  FakePlatform platform;
  ChannelSet channels;
  std::vector<FakeReportHost> hosts;
  abi::GuestStatus status;

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

TEST_CASE("an allocation waits for ranges in flight") {
  Fixture fixture({.blocks = 1, .policy = {.batch = 1}});
  const abi::Pfn block = fixture.allocate(10);
  fixture.free(block, 10); // submitted; the host is slow
  CHECK(fixture.platform.doorbells == 1);
  CHECK(fixture.status.isolated_bytes == block_frames * abi::page_bytes);
  unsigned waits = 0;
  fixture.platform.on_relax = [&] {
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
  fixture.platform.on_relax = [&] { ++waits; };
  for (const abi::Pfn block : held) {
    fixture.free(block, 10);
  }
  CHECK(waits == 0);
  CHECK(fixture.platform.doorbells == abi::ring_entries);
  CHECK(fixture.pages->reporter_counters().busy == 32 - abi::ring_entries);
  CHECK(fixture.status.fresh_bytes == (32 - abi::ring_entries) * block_frames * abi::page_bytes);
  CHECK(fixture.pages->quiesce(0, fixture.platform.time_ns + second_ns) ==
        QuiesceResult::timed_out);
  fixture.platform.on_relax = [&] { fixture.hosts[0].serve(discard_all); };
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

namespace {

// For real threads: a clock that never stands still, waiting that lets others run.
class ThreadedPlatform final : public PagePlatform {
 public:
  void ring_doorbell(unsigned) override { doorbells.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t now_ns() override { return time_ns.fetch_add(100, std::memory_order_relaxed); }
  bool plug(abi::Gpa) override {
    plugs.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  void relax() override { std::this_thread::yield(); }

  std::atomic<std::uint64_t> time_ns{1};
  std::atomic<unsigned> doorbells{0};
  std::atomic<unsigned> plugs{0};
};

} // namespace

TEST_CASE("four vCPUs and an asynchronous host: every frame has one owner at any time") {
  constexpr unsigned vcpus = 4;
  constexpr std::uint64_t blocks = 6;
  constexpr unsigned steps = 30'000;
  constexpr std::uint64_t end = block_frames * (1 + blocks);
  ThreadedPlatform platform;
  ChannelSet channels(vcpus);
  std::vector<std::byte> metadata(Buddy::metadata_bytes({block_frames}, {end}));
  abi::GuestStatus status;
  PageAllocator pages(platform,
                      {.first = {block_frames},
                       .end = {end},
                       .plugged_end = {2 * block_frames},
                       .plug_frames = block_frames / 2,
                       .policy = {.order = 2, .batch = 8},
                       .oom_timeout_ns = 1'000'000},
                      metadata, channels.pointers(), status);

  // 0: nobody; otherwise vCPU + 1. The host claims nothing, but looks.
  std::vector<std::atomic<std::uint8_t>> owner(end);
  std::atomic<unsigned> conflicts{0};
  std::atomic<bool> stop{false};

  std::thread host_thread([&] {
    std::vector<FakeReportHost> hosts;
    hosts.reserve(vcpus);
    for (abi::Channel* channel : channels.pointers()) {
      hosts.emplace_back(*channel);
    }
    std::mt19937_64 random(99);
    while (!stop.load(std::memory_order_acquire)) {
      for (FakeReportHost& host : hosts) {
        auto batches = host.take();
        std::shuffle(batches.begin(), batches.end(), random);
        for (const auto& batch : batches) {
          host.post(FakeReportHost::answer_to(batch, [&](abi::RangeDescriptor range) {
            for (std::uint64_t pfn = range.pfn().value;
                 pfn < range.pfn().value + range.order().frames(); ++pfn) {
              if (owner[pfn].load(std::memory_order_relaxed) != 0) {
                conflicts.fetch_add(1);
              }
            }
            return random() % 4 == 0 ? abi::Outcome::declined : abi::Outcome::discarded;
          }));
        }
      }
      std::this_thread::yield();
    }
  });

  std::vector<std::thread> threads;
  threads.reserve(vcpus);
  for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
    threads.emplace_back([&, vcpu] {
      struct Held {
        abi::Pfn pfn;
        abi::Order order;
      };
      std::vector<Held> held;
      std::mt19937_64 random(vcpu);
      const auto mark = static_cast<std::uint8_t>(vcpu + 1);
      const auto change = [&](const Held& block, std::uint8_t from, std::uint8_t to) {
        for (std::uint64_t pfn = block.pfn.value; pfn < block.pfn.value + block.order.frames();
             ++pfn) {
          if (owner[pfn].exchange(to, std::memory_order_relaxed) != from) {
            conflicts.fetch_add(1);
          }
        }
      };
      const auto release = [&](std::size_t index) {
        std::swap(held[index], held.back());
        const Held block = held.back();
        held.pop_back();
        change(block, mark, 0);
        if (pages.free(vcpu, block.pfn, block.order) != FreeResult::ok) {
          conflicts.fetch_add(1);
        }
      };
      for (unsigned step = 0; step < steps; ++step) {
        const bool growing = (step / 500) % 2 == 0;
        if (random() % 8 < (growing ? 6U : 2U)) {
          const abi::Order order{
              static_cast<std::uint8_t>(random() % 10 == 0 ? random() % 9 : random() % 4)};
          const Allocation got = pages.allocate(vcpu, order);
          if (got.ok()) {
            held.push_back({got.pfn, order});
            change(held.back(), 0, mark);
          } else if (!held.empty()) {
            release(random() % held.size());
          }
        } else if (!held.empty()) {
          release(random() % held.size());
        }
        if (random() % 256 == 0) {
          static_cast<void>(pages.idle(vcpu));
        }
      }
      while (!held.empty()) {
        release(held.size() - 1);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  // Nobody else is left; the clock ticks with every look, so this bounds the looks.
  CHECK(pages.quiesce(0, platform.time_ns.load() + 60 * second_ns) == QuiesceResult::settled);
  stop.store(true, std::memory_order_release);
  host_thread.join();

  CHECK(conflicts.load() == 0);
  CHECK(platform.plugs.load() <= 2 * (blocks - 1));
  CHECK(status.redundant_bytes == 0);
  CHECK(status.isolated_bytes == 0);
  CHECK(status.cached_bytes == 0);
  std::uint64_t owned = 0;
  for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
    owned += status.vcpu[vcpu].allocated_frames - status.vcpu[vcpu].freed_frames;
  }
  CHECK(owned == 0);
  const Buddy& buddy = pages.buddy();
  CHECK(buddy.fresh_frames() + buddy.answered_frames() ==
        buddy.frontier() - abi::Pfn{block_frames});
  buddy.for_each_free_block([](abi::Pfn, abi::Order order, bool) {
    CHECK(order == abi::Order{abi::max_order}); // merged to the end
  });
}
