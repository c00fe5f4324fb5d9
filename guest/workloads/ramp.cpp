// SPDX-License-Identifier: MIT
// ramp: grow to a size, free everything, repeat. The plainest picture of hinting: resident memory
// should follow the ramp down as it followed it up.
#include "guest/pattern.hpp"
#include "guest/workload.hpp"

namespace guest {
namespace {

// Lies in the second word of every live block; the blocks form a list through themselves, so the
// workload needs no other memory.
struct Link {
  std::uint64_t pattern; // the pattern's first word
  Link* next;
};

int run_ramp(Env& env) {
  const abi::Order order{static_cast<std::uint8_t>(env.arg_number("order", 0))};
  const std::uint64_t size = env.arg_bytes("size", env.ram_bytes() / 2);
  const std::uint64_t rounds = env.arg_number("rounds", 3);
  const std::uint64_t pause_ns = env.arg_number("pause_ms", 0) * 1'000'000;
  const std::uint64_t blocks = size / order.bytes();
  const Pattern pattern(Fill::edges);
  env.set_events_total(rounds * blocks * 2);

  for (std::uint64_t round = 0; round < rounds; ++round) {
    Link* head = nullptr;
    for (std::uint64_t index = 0; index < blocks; ++index) {
      auto* const link = static_cast<Link*>(env.allocate_pages(order));
      if (link == nullptr) {
        env.usage_error("out of memory at {} of {} MiB: give ramp a smaller size=",
                        index * order.bytes() >> 20, size >> 20);
      }
      pattern.stamp(link, order, index);
      link->next = head;
      head = link;
      env.count_events(1);
    }
    env.sleep_until_ns(env.now_ns() + pause_ns);
    for (std::uint64_t index = blocks; index-- != 0;) {
      Link* const link = head;
      pattern.check(env, link, order, index);
      head = link->next;
      env.free_pages(link, order);
      env.count_events(1);
    }
    env.sleep_until_ns(env.now_ns() + pause_ns);
  }
  return 0;
}

} // namespace

EBB_WORKLOAD(
    ramp,
    "grow to size=BYTES (half of memory) in blocks of order=N (0), free all, rounds=N (3), "
    "pause_ms=N (0) at top and bottom",
    run_ramp, Parameter::memory("size"), Parameter::number("order", 0, abi::max_order),
    Parameter::number("rounds", 0, std::uint64_t{1} << 32),
    Parameter::number("pause_ms", 0, longest_ms));

} // namespace guest
