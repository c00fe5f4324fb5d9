// SPDX-License-Identifier: MIT
// fragment: for each order, fill a size with blocks, free every other one, wait, free the rest.
// With half of each pair held back nothing merges: only report orders up to the block's own order
// can give the free half back.
#include "guest/pattern.hpp"
#include "guest/workload.hpp"

namespace guest {
namespace {

void run_order(Env& env, const Pattern& pattern, void** blocks, std::uint64_t count,
               abi::Order order, std::uint64_t pause_ns) {
  for (std::uint64_t index = 0; index < count; ++index) {
    blocks[index] = env.allocate_pages(order);
    if (blocks[index] == nullptr) {
      env.usage_error("out of memory at order {}: give fragment a smaller size=", order.value);
    }
    pattern.stamp(blocks[index], order, index);
    env.count_events(1);
  }
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}}) {
    for (std::uint64_t index = first; index < count; index += 2) {
      pattern.check(env, blocks[index], order, index);
      env.free_pages(blocks[index], order);
      env.count_events(1);
    }
    env.sleep_until_ns(env.now_ns() + pause_ns);
  }
}

int run_fragment(Env& env) {
  const std::uint64_t size = env.arg_bytes("size", env.ram_bytes() / 2);
  const std::uint64_t pause_ns = env.arg_number("pause_ms", 50) * 1'000'000;
  const std::uint64_t max_order = env.arg_number("max_order", abi::max_order);
  const Pattern pattern(env);
  const std::uint64_t pages = size / abi::page_bytes;
  auto** const blocks = new void*[pages];
  std::uint64_t total = 0;
  for (std::uint64_t order = 0; order <= max_order; ++order) {
    total += (pages >> order) * 2;
  }
  env.set_events_total(total);
  for (std::uint64_t order = 0; order <= max_order; ++order) {
    run_order(env, pattern, blocks, pages >> order, {static_cast<std::uint8_t>(order)}, pause_ns);
  }
  delete[] blocks;
  return 0;
}

} // namespace

EBB_WORKLOAD(fragment,
             "at each order up to max_order=N (10): fill size=BYTES (half of memory), free every "
             "other block, pause_ms=N (50), free the rest; fill=edges|full",
             run_fragment, Parameter::memory("size"), Parameter::number("pause_ms", 0, longest_ms),
             Parameter::number("max_order", 0, abi::max_order),
             Parameter::choice("fill", "edges|full"));

} // namespace guest
