// SPDX-License-Identifier: MIT
// Attacks on the rings' indices and entries.
#include <array>
#include <atomic>
#include <cstdint>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"
#include "shared/layout.h"
#include "tests/hostile/beside.hpp"
#include "tests/hostile/wire.hpp"
#include "tests/hostile/witness.hpp"

namespace {

using hostile::Wire;
using hostile::Witness;

void publish_tail(Wire& wire, std::uint32_t tail) {
  std::atomic_ref(wire.rings().submit_tail).store(tail, std::memory_order_seq_cst);
  wire.ring();
}

int tail_jumps(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  // Beyond the ring, far beyond, half way round, backwards.
  for (const std::uint32_t jump : {9U, 16U, 1000U, 1U << 31, UINT32_MAX, UINT32_MAX - 7}) {
    publish_tail(wire, wire.rings().submit_tail + jump);
    wire.await_taken();
  }
  witness.testify(wire);
}

int tail_wraps(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  publish_tail(wire, UINT32_MAX - 5);
  wire.await_taken();
  const auto range = abi::RangeDescriptor::make(witness.prey(), {0}, abi::RangeKind::hint);
  for (unsigned batch = 0; batch < 20; ++batch) {
    witness.expect(wire.hint(range) == abi::Outcome::discarded, "not answered across the wrap");
  }
  witness.testify(wire);
}

// Claims to have consumed answers that were never written: there is no room for any then.
int head_ahead(guest::Env& env) {
  hostile::attack_alone(env, [&] {
    Witness witness(env);
    Wire wire(env, 0);
    wire.describe(0, 0, abi::RangeDescriptor::make(witness.prey(), {0}, abi::RangeKind::hint));
    std::atomic_ref(wire.rings().complete_head).store(1, std::memory_order_release);
    for (unsigned batch = 0; batch < 3; ++batch) {
      wire.submit({.batch_id = batch, .page = 0, .range_count = 1});
      wire.await_taken();
    }
    Wire other(env, 1); // this channel has lost count of its answers
    witness.testify(other);
  });
}

// Never consumes an answer.
int hoard_answers(guest::Env& env) {
  hostile::attack_alone(env, [&] {
    Witness witness(env);
    Wire wire(env, 0);
    wire.describe(0, 0, abi::RangeDescriptor::make(witness.prey(), {0}, abi::RangeKind::hint));
    for (unsigned batch = 0; batch < 40; ++batch) {
      wire.submit({.batch_id = batch, .page = 0, .range_count = 1});
      wire.await_taken();
    }
    Wire other(env, 1);
    witness.testify(other);
  });
}

int bad_entries(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  wire.describe(0, 0, abi::RangeDescriptor::make(witness.prey(), {0}, abi::RangeKind::hint));
  constexpr std::array<abi::SubmissionEntry, 8> entries{{
      {.batch_id = 1, .page = abi::ring_entries, .range_count = 1},
      {.batch_id = 2, .page = UINT32_MAX, .range_count = 1},
      {.batch_id = 3, .page = 0, .range_count = 0},
      {.batch_id = 4, .page = 0, .range_count = abi::max_batch_ranges + 1},
      {.batch_id = 5, .page = 0, .range_count = UINT32_MAX},
      {.batch_id = 6, .page = UINT32_MAX, .range_count = UINT32_MAX},
      {.batch_id = UINT64_MAX, .page = 1U << 31, .range_count = 1U << 31},
      {.batch_id = 0, .page = 0x10000, .range_count = 0x10000},
  }};
  for (const abi::SubmissionEntry& entry : entries) {
    wire.submit(entry);
    const abi::CompletionEntry answer = wire.await_answer();
    witness.expect(answer.batch_id == entry.batch_id && answer.page == entry.page &&
                       answer.range_count == entry.range_count,
                   "the answer names another batch");
    witness.expect(answer.outcome(0) == abi::Outcome::failed, "a bad batch did not fail");
  }
  witness.testify(wire);
}

// The same batch, page and number again while it is in flight, and after its answer.
int same_batch_twice(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  wire.describe(0, 0, abi::RangeDescriptor::make(witness.prey(), {3}, abi::RangeKind::hint));
  for (unsigned round = 0; round < 50; ++round) {
    for (unsigned copy = 0; copy < abi::ring_entries; ++copy) {
      wire.submit({.batch_id = 1, .page = 0, .range_count = 1});
    }
    for (unsigned copy = 0; copy < abi::ring_entries; ++copy) {
      const abi::CompletionEntry answer = wire.await_answer();
      witness.expect(answer.batch_id == 1 && answer.outcome(0) == abi::Outcome::discarded,
                     "a repeated batch is answered wrongly");
    }
  }
  witness.testify(wire);
}

// Doorbells of channels that there are not.
int unknown_channels(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  for (const std::uint32_t channel :
       {2U, 3U, 15U, 16U, 17U, 255U, 256U, 1U << 16, 1U << 31, UINT32_MAX}) {
    guest::arch::out32(EBB_PORT_DOORBELL, channel);
  }
  witness.testify(wire);
}

// Writes over all that the host writes, while it does.
int scribble(guest::Env& env) {
  Witness witness(env);
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        Wire wire(env, 0);
        wire.describe(0, 0, abi::RangeDescriptor::make(witness.prey(), {0}, abi::RangeKind::hint));
        for (unsigned batch = 0; batch < 500; ++batch) {
          wire.submit({.batch_id = batch, .page = 0, .range_count = 1});
          wire.ring();
        }
        calm.impose();
        Wire other(env, 1);
        witness.testify(other);
      },
      [random = guest::Random(env.seed()), &env](unsigned) mutable {
        auto& rings = Wire(env, 0).rings();
        for (std::uint32_t* const word :
             {&rings.submit_head, &rings.complete_tail, &rings.no_doorbell}) {
          std::atomic_ref(*word).store(static_cast<std::uint32_t>(random.next()),
                                       std::memory_order_relaxed);
        }
        auto& slot = rings.completions[random.below(abi::completion_entries)];
        std::atomic_ref(slot.batch_id).store(random.next(), std::memory_order_relaxed);
      });
}

} // namespace

EBB_WORKLOAD(tail_jumps, "submit_tail jumps ahead and back", tail_jumps);
EBB_WORKLOAD(tail_wraps, "submit_tail runs over its end", tail_wraps);
EBB_WORKLOAD(head_ahead, "complete_head is ahead of the answers", head_ahead);
EBB_WORKLOAD(hoard_answers, "answers are never consumed", hoard_answers);
EBB_WORKLOAD(bad_entries, "page and range_count out of range", bad_entries);
EBB_WORKLOAD(same_batch_twice, "one batch again and again", same_batch_twice);
EBB_WORKLOAD(unknown_channels, "doorbells of channels that there are not", unknown_channels);
EBB_WORKLOAD(scribble, "overwrite what the host writes (2 vCPUs)", scribble);
