// SPDX-License-Identifier: MIT
// Frees what was never handed out: --arg what=inside|order|code|unaligned.
#include <cstddef>

#include "guest/workload.hpp"
#include "shared/layout.h"

namespace {
int run(guest::Env& env) {
  const abi::Order order{3};
  auto* const block = static_cast<std::byte*>(env.allocate_pages(order));
  const std::string_view what = env.arg("what", "inside");
  if (what == "inside") {
    env.free_pages(block + abi::page_bytes, {0});
  } else if (what == "order") {
    env.free_pages(block, {2});
  } else if (what == "code") {
    env.free_pages(reinterpret_cast<void*>(EBB_IMAGE_GPA), {0});
  } else {
    env.free_pages(block + 8, order);
  }
  return 0;
}
} // namespace

EBB_WORKLOAD(test, "free what is not allocated", run, guest::Parameter::text("what"));
