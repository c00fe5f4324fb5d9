// SPDX-License-Identifier: MIT
#include "tests/hostile/wire.hpp"

#include <atomic>

#include "guest/arch/cpu.hpp"
#include "shared/layout.h"

namespace hostile {
namespace {

// Far longer than any answer takes, even of a host that is busy with other guests.
constexpr std::uint64_t patience_ns = 20'000'000'000;

} // namespace

Wire::Wire(guest::Env& env, unsigned channel)
    : env_(env), number_(channel),
      channel_(*guest::arch::pointer_to<abi::Channel>(
          {EBB_CHANNEL_GPA + std::uint64_t{channel} * EBB_CHANNEL_BYTES})) {}

void Wire::describe(unsigned page, unsigned index, abi::RangeDescriptor descriptor) {
  std::atomic_ref(channel_.pages[page].ranges[index].bits)
      .store(descriptor.bits, std::memory_order_relaxed);
}

void Wire::submit(const abi::SubmissionEntry& entry) {
  const std::uint32_t tail = rings().submit_tail;
  rings().submissions[tail % abi::ring_entries] = entry;
  std::atomic_ref(rings().submit_tail).store(tail + 1, std::memory_order_seq_cst);
  if (std::atomic_ref(rings().no_doorbell).load(std::memory_order_seq_cst) == 0) {
    ring();
  }
}

void Wire::ring() const {
  guest::arch::out32(EBB_PORT_DOORBELL, number_);
}

void Wire::await_taken() {
  const std::uint64_t deadline = env_.now_ns() + patience_ns;
  while (std::atomic_ref(rings().submit_head).load(std::memory_order_acquire) !=
         rings().submit_tail) {
    wait_a_little(deadline, "the host does not take what is submitted");
  }
}

abi::CompletionEntry Wire::await_answer() {
  const std::uint64_t deadline = env_.now_ns() + patience_ns;
  const std::uint32_t head = rings().complete_head;
  while (std::atomic_ref(rings().complete_tail).load(std::memory_order_acquire) == head) {
    wait_a_little(deadline, "no answer");
  }
  const abi::CompletionEntry answer = rings().completions[head % abi::completion_entries];
  std::atomic_ref(rings().complete_head).store(head + 1, std::memory_order_release);
  return answer;
}

abi::Outcome Wire::hint(abi::RangeDescriptor range) {
  describe(0, 0, range);
  submit({.batch_id = next_id_++, .page = 0, .range_count = 1});
  return await_answer().outcome(0);
}

void Wire::wait_a_little(std::uint64_t deadline, const char* what) {
  if (env_.now_ns() > deadline) {
    guest::print("{}: submitted {}, taken {}, answered {}, consumed {}\n", what,
                 rings().submit_tail, rings().submit_head, rings().complete_tail,
                 rings().complete_head);
    env_.exit(1);
  }
  env_.backoff()();
}

} // namespace hostile
