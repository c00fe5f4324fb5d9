// SPDX-License-Identifier: MIT
// A buggy guest for --oracle. --arg what=in-flight goes on writing to a block that it hinted past
// its own allocator until the answer comes, on every vCPU; print has the host print from it;
// answered frees a block, and writes to it after the host has answered.
#include <atomic>
#include <cstdint>
#include <string_view>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/workload.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace {

constexpr abi::Order order{9};

volatile std::uint64_t& word_of(void* block) {
  return *static_cast<volatile std::uint64_t*>(block);
}

std::uint32_t load(std::uint32_t& index) {
  return std::atomic_ref(index).load(std::memory_order_acquire);
}

void hint(abi::Channel& channel, const void* block) {
  channel.pages[0].ranges[0] = abi::RangeDescriptor::make(
      abi::to_pfn(guest::arch::address_of(block)), order, abi::RangeKind::hint);
  channel.rings.submissions[0] = {.batch_id = 1, .page = 0, .range_count = 1};
  std::atomic_ref(channel.rings.submit_tail).store(1, std::memory_order_seq_cst);
  guest::hypercall::ring_doorbell(0, abi::Doorbell::port);
  while (load(channel.rings.submit_head) == 0) {
    guest::arch::pause();
  }
}

// A write that the host has refused leaves this text out.
void print_from(void* block) {
  abi::VcpuPage& page = guest::arch::vcpu_page();
  page.number = static_cast<std::uint64_t>(abi::Hypercall::console_write);
  page.args[0] = guest::arch::address_of(block).value + abi::page_bytes - 1;
  page.args[1] = 2;
  guest::arch::out32(EBB_PORT_HYPERCALL, page.vcpu);
  const bool printed = page.result == static_cast<std::uint64_t>(abi::Status::ok);
  guest::print("{}\n", printed ? "printed" : "refused");
}

int run(guest::Env& env) {
  const std::string_view what = env.arg("what", "in-flight");
  void* const block = env.allocate_pages(order);
  word_of(block) = 1;
  if (what == "answered") {
    env.free_pages(block, order);
    env.sleep_until_ns(env.now_ns() + 50'000'000); // reports it, and the answer comes
    word_of(block) = 2;
    env.sleep_until_ns(env.now_ns() + 50'000'000);
    return 0;
  }
  auto& channel = *guest::arch::pointer_to<abi::Channel>({EBB_CHANNEL_GPA});
  hint(channel, block);
  if (what == "print") {
    print_from(block);
    env.exit(0);
  }
  env.run_on_all([&](unsigned) {
    while (load(channel.rings.complete_tail) == 0) {
      word_of(block) = 3;
    }
  });
  guest::print("went unnoticed\n");
  env.exit(0);
}

} // namespace

EBB_WORKLOAD(test, "use memory that was reported", run,
             guest::Parameter::choice("what", "in-flight|answered|print"));
