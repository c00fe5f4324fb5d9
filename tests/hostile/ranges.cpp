// SPDX-License-Identifier: MIT
// Attacks with descriptors: ranges that are not the guest's to give.
#include <array>
#include <cstdint>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"
#include "shared/boot_info.hpp"
#include "shared/layout.h"
#include "tests/hostile/wire.hpp"
#include "tests/hostile/witness.hpp"

namespace {

using abi::Order;
using abi::Outcome;
using abi::Pfn;
using abi::RangeDescriptor;
using abi::RangeKind;
using hostile::Wire;
using hostile::Witness;

constexpr RangeDescriptor hint_of(std::uint64_t pfn, unsigned order) {
  return RangeDescriptor::make({pfn}, {static_cast<std::uint8_t>(order)}, RangeKind::hint);
}

// Each alone, as a hint and as a span, must fail.
class Refusals {
 public:
  Refusals(Witness& witness, Wire& wire) : witness_(witness), wire_(wire) {}

  void refuse(RangeDescriptor descriptor) {
    for (const RangeKind kind : {RangeKind::hint, RangeKind::span}) {
      const RangeDescriptor tried{descriptor.bits | (static_cast<std::uint64_t>(kind) << 44)};
      witness_.expect(wire_.hint(tried) == Outcome::failed, "a bad range was not refused");
      ++count_;
    }
  }
  [[nodiscard]] unsigned count() const { return count_; }

 private:
  Witness& witness_;
  Wire& wire_;
  unsigned count_ = 0;
};

int bad_ranges(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  Refusals refusals(witness, wire);
  const auto& boot = *guest::arch::pointer_to<abi::BootInfo>({EBB_BOOT_INFO_GPA});
  const std::uint64_t end = boot.ram_bytes / abi::page_bytes;
  constexpr std::uint64_t last = RangeDescriptor::pfn_mask;
  // Inside the host's structures and the image, each page alone and all of them in one.
  for (const std::uint64_t gpa :
       {0, EBB_GDT_GPA, EBB_IDT_GPA, EBB_TSS_GPA, EBB_BOOT_INFO_GPA, EBB_STATUS_GPA,
        EBB_VCPU_PAGE_GPA, EBB_CHANNEL_GPA, EBB_CHANNEL_GPA + EBB_CHANNEL_BYTES, EBB_EVENT_RING_GPA,
        EBB_PAGE_TABLE_GPA, EBB_PAGE_TABLE_END - 0x1000}) {
    refusals.refuse(hint_of(static_cast<std::uint64_t>(gpa) / abi::page_bytes, 0));
  }
  refusals.refuse(hint_of(EBB_IMAGE_GPA / abi::page_bytes, 0));
  refusals.refuse(hint_of(0, abi::max_order));
  // Beyond RAM: behind its end, reaching over it, at the last frame there can be and around.
  for (unsigned order = 0; order <= abi::max_order; ++order) {
    const std::uint64_t frames = Order{static_cast<std::uint8_t>(order)}.frames();
    refusals.refuse(hint_of(end, order));
    refusals.refuse(hint_of(abi::align_down(last, frames), order));
    refusals.refuse(hint_of(std::uint64_t{1} << 39, order));
    refusals.refuse(hint_of((std::uint64_t{1} << 36) + end - frames, order)); // 2^48 bytes up
  }
  // In the hole, from its first frame to its last.
  if (boot.hole_end_gpa != 0) {
    for (unsigned order = 0; order <= abi::max_order; ++order) {
      const std::uint64_t frames = Order{static_cast<std::uint8_t>(order)}.frames();
      refusals.refuse(hint_of(boot.hole_start_gpa / abi::page_bytes, order));
      refusals.refuse(hint_of(boot.hole_end_gpa / abi::page_bytes - frames, order));
    }
  }
  // Orders that there are not; 15 at the last frame is the longest a descriptor can say.
  for (unsigned order = abi::max_order + 1; order <= 15; ++order) {
    refusals.refuse(hint_of(witness.prey().value, order));
    refusals.refuse(hint_of(last, order));
  }
  // Unaligned.
  for (unsigned order = 1; order <= abi::max_order; ++order) {
    refusals.refuse(hint_of(witness.prey().value + 1, order));
    refusals.refuse(hint_of(end - 1, order));
  }
  // Reserved bits: a length of up to 2^52 pages in somebody else's format.
  for (unsigned bit = 46; bit < 64; ++bit) {
    refusals.refuse({hint_of(witness.prey().value, 0).bits | (std::uint64_t{1} << bit)});
  }
  refusals.refuse({~std::uint64_t{0}});
  refusals.refuse({hint_of(witness.prey().value, 0).bits | (std::uint64_t{2} << 44)});
  guest::print("{} refused\n", refusals.count());
  witness.testify(wire);
}

// Overlaps, repetitions and spans in spans, all inside the prey.
int overlaps(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  guest::Random random(env.seed());
  const std::uint64_t prey = witness.prey().value;
  for (unsigned batch = 0; batch < 100; ++batch) {
    for (unsigned index = 0; index < abi::max_batch_ranges; ++index) {
      const auto order = static_cast<std::uint8_t>(random.below(abi::order_count));
      const std::uint64_t offset =
          abi::align_down(random.below(hostile::prey_order.frames()), Order{order}.frames());
      const RangeKind kind = random.below(4) == 0 ? RangeKind::span : RangeKind::hint;
      wire.describe(0, index, RangeDescriptor::make(Pfn{prey + offset}, Order{order}, kind));
    }
    wire.submit({.batch_id = batch, .page = 0, .range_count = abi::max_batch_ranges});
    static_cast<void>(wire.await_answer());
  }
  witness.testify(wire);
}

// Random bits, half of them plausible; only what would really hit this guest's own memory outside
// of the prey is left out.
int random_ranges(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  guest::Random random(env.seed());
  const std::uint64_t end = env.ram_bytes() / abi::page_bytes;
  constexpr std::uint64_t first_own = EBB_PAGE_TABLE_END / abi::page_bytes;
  const Pfn prey_end = witness.prey() + hostile::prey_order.frames();
  for (unsigned batch = 0; batch < 100; ++batch) {
    for (unsigned index = 0; index < abi::max_batch_ranges; ++index) {
      RangeDescriptor tried{random.next()};
      if (random.below(2) == 0) {
        tried = hint_of(random.below(2 * end), static_cast<unsigned>(random.below(16)));
      }
      const bool ours = tried.pfn() >= witness.prey() && tried.pfn() < prey_end;
      if (tried.pfn().value >= first_own && tried.pfn().value < end && !ours) {
        tried = hint_of(tried.pfn().value % first_own, tried.order().value);
      }
      wire.describe(0, index, tried);
    }
    wire.submit({.batch_id = batch, .page = 0, .range_count = abi::max_batch_ranges});
    static_cast<void>(wire.await_answer());
    witness.check();
  }
  witness.testify(wire);
}

} // namespace

EBB_WORKLOAD(bad_ranges, "ranges that are not the guest's to give", bad_ranges);
EBB_WORKLOAD(overlaps, "overlapping and repeated ranges", overlaps);
EBB_WORKLOAD(random_ranges, "batches of random bits", random_ranges);
