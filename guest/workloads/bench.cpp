// SPDX-License-Identifier: MIT
// bench: times the page allocator itself: nothing touches the pages. Prints a line an operation,
// with the nanoseconds that one took in the fastest round and in the median one.
#include <algorithm>
#include <atomic>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"
#include "guest/workloads/allocator_rounds.hpp"

namespace guest {
namespace {

// The rounds' view of Env.
struct EnvPages {
  Env& env;

  [[nodiscard]] void* allocate(abi::Order order) const {
    void* const block = env.allocate_pages(order);
    if (block == nullptr) {
      env.usage_error("out of memory: give bench more --mem");
    }
    return block;
  }
  void free(void* block, abi::Order order) const { env.free_pages(block, order); }
};

// Nanoseconds of each round, of the slowest vCPU.
struct Times {
  static constexpr unsigned max_rounds = 1000;

  void note(unsigned round, std::uint64_t ns) {
    std::uint64_t seen = rounds[round].load();
    while (seen < ns && !rounds[round].compare_exchange_weak(seen, ns)) {
    }
  }

  std::atomic<std::uint64_t> rounds[max_rounds]{};
};

struct AllTimes {
  Times repeat;
  Times bulk;
  Times in_order;
  Times random;
};

struct BenchPlan {
  abi::Order order;
  unsigned rounds;
  std::uint64_t blocks; // of one vCPU
};

// All vCPUs start a step together.
class Gate {
 public:
  explicit Gate(unsigned vcpus) : vcpus_(vcpus) {}
  void wait(Env& env) {
    const unsigned turn = arrived_.fetch_add(1) / vcpus_;
    for (mm::Backoff others = env.backoff(); arrived_.load() < (turn + 1) * vcpus_;) {
      others();
    }
  }

 private:
  unsigned vcpus_;
  std::atomic<unsigned> arrived_{0};
};

template <typename Step> void timed(Env& env, Gate& gate, Times& times, unsigned round, Step step) {
  gate.wait(env);
  const std::uint64_t start_ns = env.now_ns();
  step();
  times.note(round, env.now_ns() - start_ns);
}

void bench_on_one_vcpu(Env& env, const BenchPlan& plan, Gate& gate, AllTimes& times,
                       unsigned vcpu) {
  Random random(env.seed() + vcpu);
  EnvPages pages{env};
  auto** const table = new void*[plan.blocks];
  const std::span<void*> blocks(table, plan.blocks);
  const std::span<void* const> held(blocks);
  for (unsigned round = 0; round < plan.rounds; ++round) {
    timed(env, gate, times.repeat, round, [&] { rounds::repeat(pages, plan.order, plan.blocks); });
    timed(env, gate, times.bulk, round, [&] { rounds::allocate_all(pages, plan.order, blocks); });
    timed(env, gate, times.in_order, round, [&] { rounds::free_all(pages, plan.order, held); });
    rounds::allocate_all(pages, plan.order, blocks);
    rounds::shuffle(blocks, random);
    timed(env, gate, times.random, round, [&] { rounds::free_all(pages, plan.order, held); });
    env.count_events(plan.blocks);
  }
  delete[] table;
}

void report(const char* operation, Times& times, const BenchPlan& plan, unsigned vcpus) {
  std::atomic<std::uint64_t>* const end = times.rounds + plan.rounds;
  std::uint64_t sorted[Times::max_rounds];
  std::transform(times.rounds, end, sorted, [](const auto& ns) { return ns.load(); });
  std::sort(sorted, sorted + plan.rounds);
  // In tenths of nanoseconds, for want of floating point in the guest's printing.
  const auto tenths = [&](std::uint64_t ns) { return ns * 10 / plan.blocks; };
  print("{} order {} vcpus {} min_tenths {} median_tenths {}\n", operation, plan.order.value, vcpus,
        tenths(sorted[0]), tenths(sorted[plan.rounds / 2]));
}

int run_bench(Env& env) {
  const std::uint64_t order = env.arg_number("order", 0);
  const std::uint64_t rounds = env.arg_number("rounds", 200);
  const abi::Order block_order{static_cast<std::uint8_t>(order)};
  const BenchPlan plan{.order = block_order,
                       .rounds = static_cast<unsigned>(rounds),
                       .blocks = rounds::blocks_in(env.ram_bytes() / 2 / env.vcpus(), block_order)};
  if (plan.blocks == 0) {
    env.usage_error("too little memory for blocks of order {}: give bench more --mem", order);
  }
  env.set_events_total(plan.rounds * plan.blocks * env.vcpus());
  Gate gate(env.vcpus());
  auto* const times = new AllTimes;
  env.run_on_all([&](unsigned vcpu) { bench_on_one_vcpu(env, plan, gate, *times, vcpu); });
  report("repeat", times->repeat, plan, env.vcpus());
  report("bulk", times->bulk, plan, env.vcpus());
  report("free", times->in_order, plan, env.vcpus());
  report("random", times->random, plan, env.vcpus());
  delete times;
  return 0;
}

} // namespace

EBB_WORKLOAD(bench,
             "time the page allocator: allocate+free, bulk, free, random free; order=N (0), "
             "rounds=N (200)",
             run_bench, Parameter::number("order", 0, abi::max_order),
             Parameter::number("rounds", 1, Times::max_rounds));

} // namespace guest
