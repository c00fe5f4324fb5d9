// SPDX-License-Identifier: MIT
// churn: random sizes and lifetimes around a live set, as a busy server does, on every vCPU. What
// it costs against --report off is the tax that hinting puts on allocation.
#include "guest/pattern.hpp"
#include "guest/workload.hpp"

namespace guest {
namespace {

struct Slot {
  void* block = nullptr;
  std::uint64_t key = 0;
  abi::Order order{};
};

// Half of the blocks are single pages, a quarter pairs, and so on: small sizes dominate as they
// do in the recorded traces.
abi::Order random_order(Random& random, std::uint64_t max_order) {
  std::uint8_t order = 0;
  while (order < max_order && (random.next() & (std::uint64_t{1} << 40)) != 0) {
    ++order;
  }
  return {order};
}

struct ChurnPlan {
  std::uint64_t slots;      // of one vCPU
  std::uint64_t operations; // of one vCPU
  std::uint64_t max_order;
};

void churn_on_one_vcpu(Env& env, const ChurnPlan& plan, const Pattern& pattern, unsigned vcpu) {
  Random random(env.seed() + vcpu);
  auto* const table = new Slot[plan.slots];
  for (std::uint64_t operation = 0; operation < plan.operations; ++operation) {
    Slot& slot = table[random.below(plan.slots)];
    if (slot.block == nullptr) {
      slot.order = random_order(random, plan.max_order);
      slot.key = operation;
      slot.block = env.allocate_pages(slot.order);
      if (slot.block == nullptr) {
        env.usage_error("out of memory at operation {}: give churn a smaller live=", operation);
      }
      pattern.stamp(slot.block, slot.order, slot.key);
    } else {
      pattern.check(env, slot.block, slot.order, slot.key);
      env.free_pages(slot.block, slot.order);
      slot.block = nullptr;
    }
    env.count_events(1);
  }
  for (std::uint64_t index = 0; index < plan.slots; ++index) {
    const Slot& slot = table[index];
    if (slot.block != nullptr) {
      pattern.check(env, slot.block, slot.order, slot.key);
      env.free_pages(slot.block, slot.order);
    }
  }
  delete[] table;
}

int run_churn(Env& env) {
  const std::uint64_t live_bytes = env.arg_bytes("live", env.ram_bytes() / 4);
  const std::uint64_t operations = env.arg_number("ops", 2'000'000);
  const std::uint64_t max_order = env.arg_number("max_order", 4);
  const Pattern pattern(env);
  // Of n slots about half are full at any time; a block has 2^order pages with probability
  // 2^-(order + 1), the last order twice that: (max_order + 2) / 2 pages on average.
  const std::uint64_t block_bytes = (max_order + 2) * abi::page_bytes / 2;
  const ChurnPlan plan{.slots = live_bytes * 2 / block_bytes / env.vcpus() + 1,
                       .operations = operations / env.vcpus(),
                       .max_order = max_order};
  env.set_events_total(plan.operations * env.vcpus());
  env.run_on_all([&](unsigned vcpu) { churn_on_one_vcpu(env, plan, pattern, vcpu); });
  return 0;
}

} // namespace

EBB_WORKLOAD(
    churn,
    "allocate and free at random around live=BYTES (a quarter of memory), ops=N (2000000), "
    "max_order=N (4); fill=edges|full",
    run_churn, Parameter::memory("live"), Parameter::number("ops", 0, std::uint64_t{1} << 48),
    Parameter::number("max_order", 0, abi::max_order), Parameter::choice("fill", "edges|full"));

} // namespace guest
