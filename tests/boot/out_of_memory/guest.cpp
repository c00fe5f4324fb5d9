// SPDX-License-Identifier: MIT
// operator new when memory is exhausted: ends in a panic that says so. Page allocations answer
// nullptr instead, which the workload can act on.
#include "guest/workload.hpp"

namespace {
int run(guest::Env& env) {
  std::uint64_t blocks = 0;
  while (env.allocate_pages({4}) != nullptr) {
    ++blocks;
  }
  guest::print("{} blocks, then none\n", blocks);
  for (;;) {
    auto* const object = new std::uint64_t[256];
    *object = blocks;
    env.count_events(*object & 1);
  }
}
} // namespace

EBB_WORKLOAD(test, "allocate until nothing is left", run);
