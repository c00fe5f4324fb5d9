// SPDX-License-Identifier: MIT
// Attacks by a second vCPU that changes a batch while the host reads it. They need --cpus 2.
#include <atomic>
#include <cstdint>

#include "guest/workload.hpp"
#include "shared/layout.h"
#include "tests/hostile/beside.hpp"
#include "tests/hostile/wire.hpp"
#include "tests/hostile/witness.hpp"

namespace {

using abi::RangeDescriptor;
using abi::RangeKind;
using hostile::Wire;
using hostile::Witness;

// Every descriptor flips between a page of the prey and one of the boot data. The host must judge
// and discard the same one of the two; if it judged the one and discarded the other, the boot info
// or the image would read as zero.
int changing_descriptors(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  const auto own = RangeDescriptor::make(witness.prey(), {0}, RangeKind::hint);
  const auto forbidden =
      RangeDescriptor::make(abi::to_pfn({EBB_BOOT_INFO_GPA}), {0}, RangeKind::hint);
  const auto describe_all = [&wire](RangeDescriptor descriptor) {
    for (unsigned index = 0; index < abi::max_batch_ranges; ++index) {
      wire.describe(0, index, descriptor);
    }
  };
  const std::uint64_t batches = env.arg_number("batches", 40);
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        std::uint64_t discarded = 0;
        std::uint64_t failed = 0;
        // On a busy machine the two seldom run at the same time, and every batch takes long.
        const std::uint64_t end = env.now_ns() + 6'000'000'000;
        for (std::uint64_t batch = 0; batch < batches && env.now_ns() < end; ++batch) {
          wire.submit({.batch_id = batch, .page = 0, .range_count = abi::max_batch_ranges});
          const abi::CompletionEntry answer = wire.await_answer();
          for (std::uint32_t range = 0; range < abi::max_batch_ranges; ++range) {
            ++(answer.outcome(range) == abi::Outcome::failed ? failed : discarded);
          }
          if (batch % 64 == 0) { // damage stays
            witness.check();
          }
        }
        guest::print("{} discarded, {} failed\n", discarded, failed);
        calm.impose();
        witness.testify(wire);
      },
      [&](unsigned) {
        describe_all(own);
        describe_all(forbidden);
      });
}

// The same with page and range_count of the entry.
int changing_entries(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  for (unsigned index = 0; index < abi::max_batch_ranges; ++index) {
    wire.describe(0, index, RangeDescriptor::make(witness.prey(), {0}, RangeKind::hint));
  }
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        const std::uint64_t batches = env.arg_number("batches", 40);
        for (std::uint64_t batch = 0; batch < batches; ++batch) {
          wire.submit({.batch_id = batch, .page = 0, .range_count = 1});
          static_cast<void>(wire.await_answer());
        }
        calm.impose();
        Wire other(env, 1);
        witness.testify(other);
      },
      [&](unsigned) {
        // Mostly full batches, which take the host longest to copy.
        for (abi::SubmissionEntry& entry : wire.rings().submissions) {
          std::atomic_ref(entry.page).store(0, std::memory_order_relaxed);
          for (const std::uint32_t count :
               {abi::max_batch_ranges, 0x7fffffffU, 0U, abi::max_batch_ranges, 0x7fffffffU}) {
            std::atomic_ref(entry.range_count).store(count, std::memory_order_relaxed);
          }
          std::atomic_ref(entry.page).store(0x70000001, std::memory_order_relaxed);
        }
      });
}

// Both vCPUs move the guest's indices of one channel and ring for it.
int changing_indices(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  for (unsigned page = 0; page < env.vcpus(); ++page) {
    wire.describe(page, 0, RangeDescriptor::make(witness.prey(), {0}, RangeKind::hint));
  }
  const auto move = [&](unsigned vcpu, guest::Random& random) {
    auto& rings = wire.rings();
    rings.submissions[random.below(abi::ring_entries)] = {
        .batch_id = random.next(), .page = vcpu, .range_count = 1};
    std::atomic_ref(rings.submit_tail)
        .fetch_add(static_cast<std::uint32_t>(random.below(12)), std::memory_order_relaxed);
    std::atomic_ref(rings.complete_head)
        .store(static_cast<std::uint32_t>(random.next()), std::memory_order_relaxed);
    std::atomic_ref(rings.want_interrupt)
        .store(static_cast<std::uint32_t>(random.below(2)), std::memory_order_relaxed);
    if (random.below(4) == 0) {
      wire.ring();
    }
  };
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        guest::Random random(env.seed());
        for (unsigned turn = 0; turn < 4000; ++turn) {
          move(0, random);
        }
        calm.impose();
        Wire other(env, 1);
        witness.testify(other);
      },
      [&, random = guest::Random(env.seed() + 1)](unsigned vcpu) mutable { move(vcpu, random); });
}

} // namespace

EBB_WORKLOAD(changing_descriptors, "descriptors change while they are read", changing_descriptors,
             guest::Parameter::number("batches", 0, 1 << 30));
EBB_WORKLOAD(changing_entries, "submissions change while they are read", changing_entries,
             guest::Parameter::number("batches", 0, 1 << 30));
EBB_WORKLOAD(changing_indices, "two vCPUs move the indices of one channel", changing_indices,
             guest::Parameter::number("batches", 0, 1 << 30));
