// SPDX-License-Identifier: MIT
// Frees a block twice; --arg order= picks one that goes through the page cache or past it.
#include "guest/workload.hpp"

namespace {
int run(guest::Env& env) {
  const abi::Order order{static_cast<std::uint8_t>(env.arg_number("order", 0))};
  void* const block = env.allocate_pages(order);
  env.free_pages(block, order);
  env.free_pages(block, order);
  return 0;
}
} // namespace

EBB_WORKLOAD(test, "free twice", run, guest::Parameter::number("order", 0, abi::max_order));
