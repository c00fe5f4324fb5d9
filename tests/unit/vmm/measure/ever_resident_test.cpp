// SPDX-License-Identifier: MIT
#include "vmm/measure/ever_resident.hpp"

#include <sys/mman.h>

#include <cstring>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"
#include "vmm/hints/batch_processor.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t page = abi::page_bytes;

struct Watched {
  Watched() : memory(*GuestMemory::create(64 * mib, Backing::small_pages)) {
    auto lookup = FrameScan::create(memory);
    auto passes = FrameScan::create(memory);
    if (lookup && passes) {
      ever.emplace(memory, std::move(*lookup));
      scan = std::make_unique<FrameScan>(std::move(*passes));
      scan->subscribe(*ever);
    }
  }
  void touch(std::uint64_t start, std::uint64_t bytes) const {
    std::memset(memory.base() + start, 1, bytes);
  }
  // As a batch of this one run.
  void discard(std::uint64_t start, std::uint64_t bytes) {
    runs.run_storage[0] = {.start = {start}, .bytes = bytes, .member_count = 0};
    runs.run_count = 1;
    ever->on_discard_begin(batch, 0, runs, counters);
    REQUIRE(::madvise(memory.base() + start, bytes, MADV_DONTNEED) == 0);
  }
  GuestMemory memory;
  std::optional<EverResident> ever; // empty where the kernel does not tell
  std::unique_ptr<FrameScan> scan;
  Batch batch;
  CoalescedRuns runs;
  DiscardCounters counters;
};

} // namespace

TEST_CASE("what a pass sees was resident, once, and stays so") {
  Watched on;
  if (!on.ever) {
    MESSAGE("skipped: no PAGEMAP_SCAN");
    return;
  }
  on.touch(8 * mib, 3 * page);
  REQUIRE(on.scan->pass(0, Occasion::routine));
  REQUIRE(on.scan->pass(0, Occasion::routine));
  CHECK(on.ever->bytes() == 3 * page);
  on.discard(8 * mib, 2 * page);
  REQUIRE(on.scan->pass(0, Occasion::routine));
  CHECK(on.ever->bytes() == 3 * page);
}

TEST_CASE("what is discarded before any pass saw it was resident, and what was never touched not") {
  Watched on;
  if (!on.ever) {
    MESSAGE("skipped: no PAGEMAP_SCAN");
    return;
  }
  on.touch(8 * mib + page, 2 * page);
  on.discard(8 * mib, mib);
  CHECK(on.ever->bytes() == 2 * page);
  on.discard(8 * mib, mib);
  CHECK(on.ever->bytes() == 2 * page);
  on.touch(8 * mib, 8 * page); // six of them for the first time
  on.discard(8 * mib, mib);
  CHECK(on.ever->bytes() == 8 * page);
}
