// SPDX-License-Identifier: MIT
// The page allocator on real threads against hosts that misbehave, meant for ThreadSanitizer too.
#include "guest/mm/page_allocator.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/adversarial_host.hpp"

namespace {

using namespace guest::mm;
using test_support::AdversarialHost;
using test_support::ChannelSet;
using test_support::GuestContent;
using test_support::HostFaults;

constexpr std::uint64_t block_frames = 1U << abi::max_order;
constexpr std::uint64_t timeout_ns = 2'000'000;

// A clock that never stands still, waiting that lets others run.
class ThreadedPlatform final : public PagePlatform {
 public:
  void ring_doorbell(unsigned) override { doorbells.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t now_ns() override { return time_ns.fetch_add(100, std::memory_order_relaxed); }
  bool plug(abi::Gpa) override {
    plugs.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  void prefault(abi::Gpa, std::uint64_t) override {}
  void relax() override {
    time_ns.fetch_add(400, std::memory_order_relaxed);
    std::this_thread::yield();
  }
  // Whoever holds the lock may have no turn for long on a busy host: that is no time of the
  // guest's, or its patience would end before an honest host had a turn.
  void nap(std::uint64_t) override { relax(); }
  void count_spinning(std::uint64_t) override {}
  void sleep_until(unsigned, std::uint64_t) override { relax(); } // nobody has to wake it
  void wake(unsigned) override {}

  std::atomic<std::uint64_t> time_ns{1};
  std::atomic<unsigned> doorbells{0};
  std::atomic<unsigned> plugs{0};
};

enum class Policy : std::uint8_t { constant, changing };

class Machine {
 public:
  static constexpr std::uint64_t ram_blocks = 8;
  static constexpr std::uint64_t hole_blocks = 2;
  static constexpr std::uint64_t end = block_frames * (1 + ram_blocks + hole_blocks);
  static constexpr FrameHole hole{.start = {3 * block_frames},
                                  .end = {(3 + hole_blocks) * block_frames}};

  Machine(unsigned vcpus, const HostFaults& faults, const abi::ReportPolicy& policy,
          std::uint64_t seed)
      : vcpus_(vcpus), seed_(seed), channels_(vcpus),
        metadata_(Buddy::metadata_bytes({block_frames}, {end})), content_(end), owner_(end),
        host_(channels_.pointers(), content_, faults, seed),
        pages(std::make_unique<PageAllocator>(static_cast<PagePlatform&>(platform),
                                              PageAllocatorConfig{.first = {block_frames},
                                                                  .end = {end},
                                                                  .plugged_end = {2 * block_frames},
                                                                  .plug_frames = block_frames / 2,
                                                                  .hole = hole,
                                                                  .policy = policy,
                                                                  .timeout_ns = timeout_ns,
                                                                  .control = &control_},
                                              metadata_, channels_.pointers(), status)) {}

  void run(unsigned steps, Policy policy) {
    std::atomic<bool> stop{false};
    std::atomic<bool> host_idle{false};
    std::thread host_thread([&] {
      std::mt19937_64 random(seed_);
      while (!stop.load(std::memory_order_acquire) || !host_.idle()) {
        host_.round();
        if (policy == Policy::changing && random() % 50 == 0) {
          change_policy(random);
        }
        std::this_thread::yield();
      }
      host_idle.store(true, std::memory_order_release);
    });
    std::vector<std::thread> threads;
    threads.reserve(vcpus_);
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
      threads.emplace_back([this, vcpu, steps] { work(vcpu, steps); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    // Nobody else is left; the clock ticks with every look, so this bounds the looks.
    static_cast<void>(pages->quiesce(0, platform.time_ns.load() + 10 * timeout_ns));
    stop.store(true, std::memory_order_release);
    while (!host_idle.load(std::memory_order_acquire)) {
      static_cast<void>(pages->idle(0)); // makes room for the answers that are left
      std::this_thread::yield();
    }
    host_thread.join();
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
      static_cast<void>(pages->idle(vcpu));
    }
    pages->retune({.policy = {.enabled = 0}, .timeout_ns = timeout_ns});
    platform.time_ns += 2 * timeout_ns;
    host_.round(); // what idle() still sent
    while (!host_.idle()) {
      static_cast<void>(pages->idle(0));
      host_.round();
    }
    platform.time_ns += 2 * timeout_ns;
    static_cast<void>(pages->idle(0));
  }

  void check() {
    CHECK(conflicts.load() == 0);
    const AdversarialHost::Counters& host = host_.counters();
    const ReporterCounters counters = pages->reporter_counters();
    CHECK(counters.batches == host.taken);
    CHECK(host.taken == host.answered + host.dropped);
    CHECK(status.isolated_bytes == host.dropped_frames * abi::page_bytes);
    CHECK(status.quarantined_bytes == status.isolated_bytes);
    CHECK(status.ignored_answers == host.repeated);
    CHECK(status.late_answers <= host.answered);
    CHECK(status.oom_failures == 0);
    CHECK(status.redundant_bytes == 0);
    CHECK(status.cached_bytes == 0);
    std::uint64_t latencies = 0;
    for (const std::uint32_t count : status.answer_latency.counts) {
      latencies += count;
    }
    CHECK(latencies == host.answered);
    std::uint64_t waits = 0;
    for (const std::uint32_t count : status.oom_wait.counts) {
      waits += count;
    }
    CHECK(waits == status.oom_waits);
    std::uint64_t owned = 0;
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
      owned += status.vcpu[vcpu].allocated_frames - status.vcpu[vcpu].freed_frames;
    }
    CHECK(owned == 0);
    const Buddy& buddy = pages->buddy();
    const std::uint64_t skipped = buddy.frontier() > hole.start ? hole.end - hole.start : 0;
    CHECK(buddy.fresh_frames() + buddy.answered_frames() + buddy.isolated_frames() ==
          buddy.frontier() - abi::Pfn{block_frames} - skipped);
    if (host.dropped == 0) {
      buddy.for_each_free_block([&buddy](abi::Pfn block, abi::Order order, bool) {
        // Merged to the end, but for half a block that was plugged last.
        CHECK((order.value == abi::max_order || block + order.frames() == buddy.frontier()));
      });
    }
  }

 private:
  struct Held {
    abi::Pfn pfn;
    abi::Order order;
    std::uint64_t stamp = 0;
  };

  void claim(const Held& block, std::uint8_t from, std::uint8_t to) {
    for (std::uint64_t frame = 0; frame < block.order.frames(); ++frame) {
      const std::uint64_t pfn = block.pfn.value + frame;
      if (owner_[pfn].exchange(to, std::memory_order_relaxed) != from || hole.contains({pfn})) {
        conflicts.fetch_add(1);
      }
    }
  }

  void work(unsigned vcpu, unsigned steps) {
    std::vector<Held> held;
    std::mt19937_64 random(seed_ * 100 + vcpu);
    std::uint64_t next_stamp = (std::uint64_t{vcpu} + 1) << 48;
    const auto mark = static_cast<std::uint8_t>(vcpu + 1);
    const auto release = [&](std::size_t index) {
      std::swap(held[index], held.back());
      const Held block = held.back();
      held.pop_back();
      if (!content_.holds(block.pfn, block.order, block.stamp)) {
        conflicts.fetch_add(1);
      }
      claim(block, mark, 0);
      if (pages->free(vcpu, block.pfn, block.order) != FreeResult::ok) {
        conflicts.fetch_add(1);
      }
    };
    for (unsigned step = 0; step < steps; ++step) {
      const bool growing = (step / 500) % 2 == 0;
      if (random() % 8 < (growing ? 6U : 2U)) {
        const abi::Order order{
            static_cast<std::uint8_t>(random() % 10 == 0 ? random() % 10 : random() % 4)};
        const Allocation got = pages->allocate(vcpu, order);
        if (got.ok()) {
          held.push_back({.pfn = got.pfn, .order = order, .stamp = ++next_stamp});
          claim(held.back(), 0, mark);
          if (got.content == Content::zeroed && !content_.holds(got.pfn, order, 0)) {
            conflicts.fetch_add(1);
          }
          content_.stamp(got.pfn, order, next_stamp);
        } else if (!held.empty()) {
          release(random() % held.size());
        }
      } else if (!held.empty()) {
        release(random() % held.size());
      }
      if (random() % 256 == 0) {
        static_cast<void>(pages->idle(vcpu));
      }
    }
    while (!held.empty()) {
      release(held.size() - 1);
    }
  }

  void change_policy(std::mt19937_64& random) {
    test_support::write_control(
        control_,
        {.enabled = random() % 8 == 0 ? 0U : 1U,
         .order = static_cast<std::uint32_t>(random() % abi::order_count),
         .batch = static_cast<std::uint32_t>(1 + random() % 16),
         .strategy = static_cast<abi::ReportStrategy>(random() % 4),
         .keep_bytes = random() % 2 == 0 ? 0 : (random() % 2048) * abi::page_bytes,
         .delay_ns = random() % 10'000},
        timeout_ns / 2 + random() % timeout_ns);
  }

 public:
  abi::GuestStatus status; // first, because of its alignment

 private:
  unsigned vcpus_;
  std::uint64_t seed_;
  ChannelSet channels_;
  std::vector<std::byte> metadata_;
  abi::ReportControl control_;
  GuestContent content_;
  std::vector<std::atomic<std::uint8_t>> owner_; // 0: nobody; otherwise vCPU + 1
  AdversarialHost host_;

 public:
  ThreadedPlatform platform;
  std::atomic<unsigned> conflicts{0};
  std::unique_ptr<PageAllocator> pages;
};

constexpr abi::ReportPolicy small_batches{.order = 2, .batch = 8};

void run_fault(const HostFaults& faults, unsigned steps, const abi::ReportPolicy& policy) {
  for (const unsigned vcpus : {1U, 2U, 4U}) {
    CAPTURE(vcpus);
    Machine machine(vcpus, faults, policy, 7 + vcpus);
    machine.run(steps, Policy::constant);
    machine.check();
  }
}

} // namespace

TEST_CASE("threads: an honest asynchronous host; every frame has one owner at any time") {
  Machine machine(4, {.reorder = true}, small_batches, 1);
  machine.run(20'000, Policy::constant);
  machine.check();
  CHECK(machine.status.isolated_bytes == 0);
  CHECK(machine.platform.plugs.load() <= 2 * Machine::ram_blocks);
}

TEST_CASE("threads: each of the host's faults alone") {
  constexpr unsigned steps = 3000;
  SUBCASE("delay") {
    run_fault({.delay_rounds = 200}, steps, small_batches);
  }
  SUBCASE("drop") {
    run_fault({.drop = 5}, steps, small_batches);
  }
  SUBCASE("duplicate") {
    run_fault({.duplicate = 40}, steps, small_batches);
  }
  SUBCASE("reorder") {
    run_fault({.delay_rounds = 10, .reorder = true}, steps, small_batches);
  }
  SUBCASE("decline") {
    run_fault({.decline = 30}, steps, small_batches);
  }
  SUBCASE("fail") {
    run_fault({.fail = 30}, steps, small_batches);
  }
  SUBCASE("stall") {
    run_fault({.stall_after = 40}, steps, small_batches);
  }
}

TEST_CASE("threads: all of the host's faults at once, whatever the strategy") {
  constexpr HostFaults all{.drop = 2,
                           .duplicate = 20,
                           .decline = 20,
                           .fail = 10,
                           .delay_rounds = 20,
                           .reorder = true,
                           .stall_after = 2000};
  for (const auto strategy :
       {abi::ReportStrategy::batch, abi::ReportStrategy::each, abi::ReportStrategy::scan,
        abi::ReportStrategy::decay, abi::ReportStrategy::adaptive}) {
    CAPTURE(static_cast<unsigned>(strategy));
    run_fault(all, 3000, {.order = 1, .batch = 8, .strategy = strategy});
  }
}

TEST_CASE("threads: the policy changes all the time") {
  for (const unsigned vcpus : {1U, 4U}) {
    Machine machine(vcpus, {.drop = 1, .duplicate = 10, .decline = 10, .reorder = true},
                    small_batches, 5);
    machine.run(8000, Policy::changing);
    machine.check();
  }
}
