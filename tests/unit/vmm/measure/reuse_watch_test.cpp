// SPDX-License-Identifier: MIT
#include "vmm/measure/reuse_watch.hpp"

#include <cstring>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/clock.hpp"
#include "vmm/base/units.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/measure/sampler.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t ns_per_s = 1'000'000'000;

struct Watched {
  Watched() : memory(*GuestMemory::create(64 * mib, Backing::small_pages)), watch(memory) {
    start_ns = monotonic_ns() + ns_per_s; // later than anything the watch saw
  }
  void end(std::uint64_t now_ns) {
    look(now_ns, {});
    watch.end(now_ns);
  }
  // A pass that finds [start, start + bytes) of each.
  void look(std::uint64_t now_ns, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& all) {
    REQUIRE(watch.pass_begins(now_ns, Occasion::mark));
    for (const auto& [start, bytes] : all) {
      watch.resident({start}, bytes);
    }
    watch.pass_ends(FrameWatcher::Ended::complete);
  }
  GuestMemory memory;
  ReuseWatch watch;
  std::uint64_t start_ns = 0;
};

} // namespace

TEST_CASE("memory that stays away counts until the end, by the order that took it") {
  Watched on;
  on.watch.begin(on.start_ns);
  on.watch.discarded({16 * mib}, abi::Order{9}, on.start_ns);
  on.watch.discarded({32 * mib}, abi::Order{0}, on.start_ns + ns_per_s);
  on.end(on.start_ns + 3 * ns_per_s);
  const OrderUses uses = on.watch.uses();
  CHECK(uses[9].ranges == 1);
  CHECK(uses[9].discarded_bytes == 2 * mib);
  CHECK(uses[9].reused_bytes == 0);
  CHECK(uses[9].away_mib_s == doctest::Approx(2 * 3).epsilon(0.01));
  CHECK(uses[0].away_mib_s == doctest::Approx(2.0 / 256).epsilon(0.01));
}

TEST_CASE("what came back stops counting, and is counted once") {
  Watched on;
  on.watch.begin(on.start_ns);
  on.watch.discarded({16 * mib}, abi::Order{1}, on.start_ns);
  on.look(on.start_ns + ns_per_s, {{16 * mib, 4 * kib}});
  on.look(on.start_ns + 2 * ns_per_s, {{16 * mib, 4 * kib}});
  on.look(on.start_ns + 2 * ns_per_s, {{40 * mib, 4 * kib}}); // was never away
  on.end(on.start_ns + 3 * ns_per_s);
  const OrderUses uses = on.watch.uses();
  CHECK(uses[1].reused_bytes == 4 * kib);
  CHECK(uses[1].away_mib_s == doctest::Approx((1.0 + 3.0) / 256).epsilon(0.01));
}

TEST_CASE("a page that is hinted again has been back, however short") {
  Watched on;
  on.watch.begin(on.start_ns);
  on.watch.discarded({16 * mib}, abi::Order{0}, on.start_ns);
  on.watch.discarded({16 * mib}, abi::Order{3}, on.start_ns + ns_per_s);
  CHECK(on.watch.uses()[0].reused_bytes == 4 * kib);
  CHECK(on.watch.uses()[3].reused_bytes == 0);
}

TEST_CASE("only time in the measured interval counts") {
  Watched on;
  on.watch.discarded({16 * mib}, abi::Order{8}, on.start_ns);
  on.watch.begin(on.start_ns + 2 * ns_per_s);
  on.end(on.start_ns + 3 * ns_per_s);
  on.watch.discarded({32 * mib}, abi::Order{8}, on.start_ns + 4 * ns_per_s);
  on.look(on.start_ns + 9 * ns_per_s, {{32 * mib, mib}});
  const OrderUses uses = on.watch.uses();
  CHECK(uses[8].away_mib_s == doctest::Approx(1.0).epsilon(0.01));
  CHECK(uses[8].reused_bytes == mib);
}

TEST_CASE("the kernel's page tables say what is back") {
  Watched on;
  on.watch.begin(on.start_ns);
  on.watch.discarded({16 * mib}, abi::Order{2}, on.start_ns);
  std::memset(on.memory.at({16 * mib + 8 * kib}, 4 * kib).data(), 1, 4 * kib);
  auto scan = FrameScan::create(on.memory);
  if (!scan) {
    MESSAGE("skipped: ", scan.error().message);
    return;
  }
  scan->subscribe(on.watch);
  REQUIRE(scan->pass(on.start_ns + ns_per_s, Occasion::mark));
  CHECK(on.watch.uses()[2].reused_bytes == 4 * kib);
}

TEST_CASE("of a batch only what was discarded counts, and spans do not") {
  Watched on;
  Batch batch;
  batch.acceptable = true;
  batch.submission.range_count = 3;
  const auto make = [](std::uint64_t bytes, std::uint8_t order, abi::RangeKind kind) {
    return abi::RangeDescriptor::make(abi::to_pfn({bytes}), abi::Order{order}, kind);
  };
  batch.descriptors[0] = make(16 * mib, 9, abi::RangeKind::span);
  batch.descriptors[1] = make(16 * mib, 4, abi::RangeKind::hint);
  batch.descriptors[2] = make(32 * mib, 5, abi::RangeKind::hint);
  batch.answer.set_outcome(0, abi::Outcome::discarded);
  batch.answer.set_outcome(1, abi::Outcome::discarded);
  batch.answer.set_outcome(2, abi::Outcome::declined);
  on.watch.on_settled(batch);
  const OrderUses uses = on.watch.uses();
  CHECK(uses[9].ranges == 0);
  CHECK(uses[4].discarded_bytes == 64 * kib);
  CHECK(uses[5].ranges == 0);
}

TEST_CASE("what is discarded while a pass goes on is not taken for what it finds") {
  Watched on;
  on.watch.begin(on.start_ns);
  REQUIRE(on.watch.pass_begins(on.start_ns, Occasion::mark));
  // The tables were read before this: the page was resident then.
  on.watch.discarded({16 * mib}, abi::Order{0}, on.start_ns + ns_per_s);
  on.watch.resident({16 * mib}, 4 * kib);
  on.watch.pass_ends(FrameWatcher::Ended::complete);
  CHECK(on.watch.uses()[0].discarded_bytes == 4 * kib);
  CHECK(on.watch.uses()[0].reused_bytes == 0);
}

TEST_CASE("more notes than are kept are counted all the same") {
  Watched on;
  on.watch.begin(on.start_ns);
  constexpr std::uint64_t rounds = 40;
  constexpr std::uint64_t pages = 2048;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (std::uint64_t page = 0; page < pages; ++page) {
      on.watch.discarded({page * 4 * kib}, abi::Order{0}, on.start_ns + round * ns_per_s);
    }
  }
  CHECK(on.watch.uses()[0].ranges == rounds * pages);
  CHECK(on.watch.uses()[0].reused_bytes == (rounds - 1) * pages * 4 * kib);
}

TEST_CASE("a routine pass is wanted only when the last look is long enough ago") {
  Watched on;
  on.look(on.start_ns, {});
  CHECK_FALSE(on.watch.pass_begins(on.start_ns + 1, Occasion::routine));
  REQUIRE(on.watch.pass_begins(on.start_ns + 1, Occasion::mark));
  on.watch.pass_ends(FrameWatcher::Ended::complete);
  REQUIRE(on.watch.pass_begins(on.start_ns + 10 * ns_per_s, Occasion::routine));
  on.watch.pass_ends(FrameWatcher::Ended::complete);
}
