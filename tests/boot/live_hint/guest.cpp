// SPDX-License-Identifier: MIT
// A buggy guest: hints a block that is still in use, past its own allocator, then looks whether its
// content survived. With --check-hints the host notices before it discards.
#include <atomic>

#include "guest/arch/cpu.hpp"
#include "guest/pattern.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/workload.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace {
int run(guest::Env& env) {
  const abi::Order order{9};
  void* const block = env.allocate_pages(order);
  const guest::Pattern pattern(guest::Fill::edges);
  pattern.stamp(block, order, 1);

  auto* const channel = guest::arch::pointer_to<abi::Channel>({EBB_CHANNEL_GPA});
  channel->pages[0].ranges[0] = abi::RangeDescriptor::make(
      abi::to_pfn(guest::arch::address_of(block)), order, abi::RangeKind::hint);
  channel->rings.submissions[0] = {.batch_id = 1, .page = 0, .range_count = 1};
  std::atomic_ref(channel->rings.submit_tail).store(1, std::memory_order_release);
  guest::hypercall::ring_doorbell(0, abi::Doorbell::port);

  pattern.check(env, block, order, 1);
  return 0;
}
} // namespace

EBB_WORKLOAD(test, "hint a live block", run);
