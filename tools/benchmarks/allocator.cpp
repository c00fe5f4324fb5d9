// SPDX-License-Identifier: MIT
// Google Benchmark of the guest's page allocator, hosted: the loops of the guest's workload `bench`
// without a guest. Nothing is reported. Times are of one operation (allocate and free count as one
// in `repeat`).
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include "guest/mm/page_allocator.hpp"
#include "guest/workloads/allocator_rounds.hpp"

namespace {

using namespace guest;

constexpr abi::Pfn ram_first{1U << abi::max_order};
constexpr std::uint64_t ram_bytes = std::uint64_t{1} << 30;
constexpr abi::Pfn ram_end{ram_first.value + (ram_bytes >> abi::page_shift)};

class Host final : public mm::PagePlatform {
 public:
  void ring_doorbell(unsigned) override {}
  // As in the guest: the time stamp counter, in some unit.
  std::uint64_t now_ns() override { return __rdtsc(); }
  bool plug(abi::Gpa) override { return false; }
  void prefault(abi::Gpa, std::uint64_t) override {}
  void relax() override { _mm_pause(); }
  void nap(std::uint64_t) override { std::this_thread::yield(); }
  void count_spinning(std::uint64_t) override {}
  void sleep_until(unsigned, std::uint64_t) override {}
  void wake(unsigned) override {}
};

struct Machine {
  explicit Machine(unsigned vcpus)
      : channels(std::make_unique<abi::Channel[]>(vcpus)),
        metadata(mm::Buddy::metadata_bytes(ram_first, ram_end)) {
    for (unsigned index = 0; index < vcpus; ++index) {
      pointers.push_back(&channels[index]);
    }
    pages = std::make_unique<mm::PageAllocator>(
        static_cast<mm::PagePlatform&>(host),
        mm::PageAllocatorConfig{
            .first = ram_first, .end = ram_end, .plugged_end = ram_end, .policy = {.enabled = 0}},
        metadata, pointers, status);
  }

  abi::GuestStatus status; // first, because of its alignment
  Host host;
  std::unique_ptr<abi::Channel[]> channels;
  std::vector<abi::Channel*> pointers;
  std::vector<std::byte> metadata;
  std::unique_ptr<mm::PageAllocator> pages;
};

// The rounds' view of one vCPU.
struct VcpuPages {
  mm::PageAllocator& pages;
  unsigned vcpu;

  [[nodiscard]] abi::Pfn allocate(abi::Order order) const {
    const mm::Allocation got = pages.allocate(vcpu, order);
    if (!got.ok()) [[unlikely]] {
      std::abort();
    }
    return got.pfn;
  }
  void free(abi::Pfn block, abi::Order order) const {
    if (pages.free(vcpu, block, order) != mm::FreeResult::ok) [[unlikely]] {
      std::abort();
    }
  }
};

struct Dice {
  std::mt19937_64 engine{1};
  std::uint64_t below(std::uint64_t limit) { return engine() % limit; }
};

constexpr int timed_rounds = 200;

// As the guest's bench does: all threads start a round together, and it takes as long as the
// slowest.
class Together {
 public:
  explicit Together(unsigned threads) : threads_(threads) {}
  void wait() {
    const unsigned turn = arrived_.fetch_add(1) / threads_;
    while (arrived_.load() < (turn + 1) * threads_) {
      _mm_pause();
    }
  }
  void note(int round, std::uint64_t ns) {
    std::uint64_t seen = slowest_ns_[round].load();
    while (seen < ns && !slowest_ns_[round].compare_exchange_weak(seen, ns)) {
    }
  }
  [[nodiscard]] std::uint64_t fastest_round_ns() const {
    std::uint64_t fastest = slowest_ns_[0].load();
    for (const std::atomic<std::uint64_t>& ns : slowest_ns_) {
      fastest = std::min(fastest, ns.load());
    }
    return fastest;
  }

 private:
  unsigned threads_;
  std::atomic<unsigned> arrived_{0};
  std::array<std::atomic<std::uint64_t>, timed_rounds> slowest_ns_{};
};

class Allocator : public benchmark::Fixture {
 public:
  void SetUp(const benchmark::State& state) override {
    if (state.thread_index() == 0) {
      const auto threads = static_cast<unsigned>(state.threads());
      machine_ = std::make_unique<Machine>(threads);
      together_ = std::make_unique<Together>(threads);
    }
  }
  void TearDown(const benchmark::State& state) override {
    if (state.thread_index() == 0) {
      machine_.reset();
    }
  }

 protected:
  // Times `step` over a round's blocks, with `before` and `after` outside the time.
  template <typename Before, typename Step, typename After>
  void run(benchmark::State& state, Before before, Step step, After after) {
    using clock = std::chrono::steady_clock;
    const abi::Order order{static_cast<std::uint8_t>(state.range(0))};
    const std::uint64_t count =
        rounds::blocks_in(ram_bytes / 2 / static_cast<unsigned>(state.threads()), order);
    std::vector<abi::Pfn> blocks(count);
    int round = 0;
    for (auto _ : state) {
      VcpuPages pages{*machine_->pages, static_cast<unsigned>(state.thread_index())};
      before(pages, order, std::span(blocks));
      together_->wait();
      const clock::time_point start = clock::now();
      step(pages, order, std::span(blocks));
      const std::chrono::nanoseconds taken = clock::now() - start;
      together_->note(round++, static_cast<std::uint64_t>(taken.count()));
      together_->wait();
      after(pages, order, std::span(blocks));
      state.SetIterationTime(std::chrono::duration<double>(taken).count() /
                             static_cast<double>(count));
    }
    state.counters["min_ns"] = benchmark::Counter(
        static_cast<double>(together_->fastest_round_ns()) / static_cast<double>(count),
        benchmark::Counter::kAvgThreads);
  }

 private:
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Together> together_;
};

using Blocks = std::span<abi::Pfn>;
constexpr auto nothing = [](VcpuPages&, abi::Order, Blocks) {};
constexpr auto allocate_all = [](VcpuPages& pages, abi::Order order, Blocks blocks) {
  rounds::allocate_all(pages, order, blocks);
};
constexpr auto free_all = [](VcpuPages& pages, abi::Order order, Blocks blocks) {
  rounds::free_all(pages, order, std::span<const abi::Pfn>(blocks));
};

// NOLINTBEGIN(cppcoreguidelines-*,misc-use-internal-linkage): the macros of Google Benchmark
BENCHMARK_DEFINE_F(Allocator, repeat)(benchmark::State& state) {
  run(
      state, nothing,
      [](VcpuPages& pages, abi::Order order, Blocks blocks) {
        rounds::repeat(pages, order, blocks.size());
      },
      nothing);
}
BENCHMARK_DEFINE_F(Allocator, bulk)(benchmark::State& state) {
  run(state, nothing, allocate_all, free_all);
}
BENCHMARK_DEFINE_F(Allocator, free)(benchmark::State& state) {
  run(state, allocate_all, free_all, nothing);
}
BENCHMARK_DEFINE_F(Allocator, random)(benchmark::State& state) {
  Dice dice;
  run(
      state,
      [&dice](VcpuPages& pages, abi::Order order, Blocks blocks) {
        rounds::allocate_all(pages, order, blocks);
        rounds::shuffle(blocks, dice);
      },
      free_all, nothing);
}

void configure(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("order")->Arg(0)->Arg(3)->Arg(4)->Arg(9)->Arg(10)->Threads(1)->Threads(2);
  benchmark->UseManualTime()->Iterations(timed_rounds)->Unit(benchmark::kNanosecond);
}
BENCHMARK_REGISTER_F(Allocator, repeat)->Apply(configure);
BENCHMARK_REGISTER_F(Allocator, bulk)->Apply(configure);
BENCHMARK_REGISTER_F(Allocator, free)->Apply(configure);
BENCHMARK_REGISTER_F(Allocator, random)->Apply(configure);
// NOLINTEND(cppcoreguidelines-*,misc-use-internal-linkage)

} // namespace

BENCHMARK_MAIN();
