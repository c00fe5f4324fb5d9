// SPDX-License-Identifier: MIT
// Allocates size= bytes in blocks of 2 MiB, checks and frees them all, says so, and idles until it
// is ended: for tests of several guests that have their peaks one after the other.
#include "guest/pattern.hpp"
#include "guest/workload.hpp"

namespace {
int run(guest::Env& env) {
  constexpr abi::Order order{9};
  const std::uint64_t count = env.arg_bytes("size", 64 << 20) / order.bytes();
  const guest::Pattern pattern(guest::Fill::edges);
  auto** const blocks = new void*[count];
  for (std::uint64_t index = 0; index < count; ++index) {
    blocks[index] = env.allocate_pages(order);
    if (blocks[index] == nullptr) {
      env.usage_error("out of memory at block {}", index);
    }
    pattern.stamp(blocks[index], order, index);
  }
  for (std::uint64_t index = 0; index < count; ++index) {
    pattern.check(env, blocks[index], order, index);
    env.free_pages(blocks[index], order);
  }
  delete[] blocks;
  env.sleep_until_ns(env.now_ns()); // reports what is left of a batch
  guest::print("freed\n");
  for (;;) {
    env.sleep_until_ns(env.now_ns() + 1'000'000'000);
  }
}
} // namespace

EBB_WORKLOAD(test, "allocate and free size=, then idle", run, guest::Parameter::memory("size"));
