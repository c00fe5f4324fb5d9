// SPDX-License-Identifier: MIT
#include "vmm/hints/oracle.hpp"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include "shared/frame_tag.hpp"
#include "vmm/base/units.hpp"
#include "vmm/hints/batch_processor.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t managed_start = 8 * mib;
constexpr std::uint64_t tags = 4 * mib;

struct Setup {
  Setup() : memory(*GuestMemory::create(16 * mib, Backing::small_pages)) {
    REQUIRE(oracle.configure(hello()));
  }
  static abi::GuestHello hello() {
    abi::GuestHello hello;
    hello.managed_start_gpa = managed_start;
    hello.tags_gpa = tags;
    hello.tags_first_pfn = managed_start / abi::page_bytes;
    return hello;
  }
  // As the kernel sees it for the guest: nothing here faults.
  [[nodiscard]] bool accessible(std::uint64_t gpa) const {
    char byte = 0;
    const iovec to{&byte, 1};
    const iovec from{memory.base() + gpa, 1};
    return ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) == 1;
  }
  static Batch batch_of(std::uint64_t gpa, unsigned order) {
    Batch batch;
    batch.acceptable = true;
    batch.submission.range_count = 1;
    batch.descriptors[0] = abi::RangeDescriptor::make(
        abi::to_pfn({gpa}), {static_cast<std::uint8_t>(order)}, abi::RangeKind::hint);
    return batch;
  }
  void answer(Batch& batch, abi::Outcome outcome) {
    const abi::RangeDescriptor range = batch.descriptors[0];
    if (outcome == abi::Outcome::discarded) {
      REQUIRE(::madvise(memory.base() + abi::to_gpa(range.pfn()).value, range.order().bytes(),
                        MADV_DONTNEED) == 0);
    }
    batch.answer.set_outcome(0, outcome);
    oracle.on_answer(batch);
  }
  void touch(std::uint64_t gpa) const { *memory.object_at<std::uint64_t>({gpa}) = 1; }
  void set_allocated(std::uint64_t gpa) const {
    *memory.object_at<std::uint8_t>({tags + (gpa - managed_start) / abi::page_bytes}) =
        abi::FrameTag::audit_bit;
  }

  GuestMemory memory;
  std::string failure;
  Oracle oracle{memory, [this](const std::string& what) { failure = what; }};
};

} // namespace

TEST_CASE("oracle: out of reach from the taking to the answer, whatever it is") {
  for (const abi::Outcome outcome :
       {abi::Outcome::discarded, abi::Outcome::declined, abi::Outcome::failed}) {
    Setup setup;
    Batch batch = Setup::batch_of(managed_start, 1);
    setup.touch(managed_start);
    setup.oracle.on_taken(batch);
    CHECK_FALSE(setup.accessible(managed_start));
    CHECK_FALSE(setup.accessible(managed_start + 2 * abi::page_bytes - 1));
    CHECK(setup.accessible(managed_start + 2 * abi::page_bytes));
    CHECK(setup.accessible(managed_start - 1));
    setup.answer(batch, outcome);
    CHECK(setup.accessible(managed_start));
    CHECK(setup.failure.empty());
    CHECK(setup.oracle.totals().guarded_bytes == 2 * abi::page_bytes);
  }
}

TEST_CASE(
    "oracle: a range that is refused keeps its access, an answer that is dropped gives none") {
  Setup setup;
  Batch refused = Setup::batch_of(managed_start - abi::page_bytes, 0);
  setup.oracle.on_taken(refused);
  CHECK(setup.accessible(managed_start - abi::page_bytes));
  Batch dropped = Setup::batch_of(managed_start, 0);
  setup.oracle.on_taken(dropped);
  setup.oracle.on_answer_dropped(dropped);
  CHECK_FALSE(setup.accessible(managed_start));
}

TEST_CASE("oracle: at the end nothing is out of reach") {
  Setup setup;
  Batch batch = Setup::batch_of(managed_start, 1);
  setup.touch(managed_start);
  setup.oracle.on_taken(batch);
  CHECK_FALSE(setup.accessible(managed_start));
  setup.oracle.end();
  CHECK(setup.accessible(managed_start));
  CHECK(setup.accessible(managed_start + 2 * abi::page_bytes - 1));
}

TEST_CASE("oracle: the host itself reads nothing that is in flight") {
  Setup setup;
  Batch batch = Setup::batch_of(managed_start, 0);
  setup.oracle.on_taken(batch);
  const auto copy = [&](std::uint64_t gpa, std::uint64_t bytes) {
    return setup.oracle.copy({gpa}, setup.memory.at({gpa}, bytes));
  };
  CHECK_FALSE(copy(managed_start, 1).has_value());
  CHECK_FALSE(copy(managed_start - 1, 2).has_value());
  CHECK_FALSE(copy(managed_start + abi::page_bytes - 1, 1).has_value());
  CHECK(copy(managed_start - 8, 8).has_value());
  CHECK(copy(managed_start + abi::page_bytes, 8).has_value());
  CHECK(setup.oracle.describe_access(abi::Gpa{managed_start}).contains("is in flight"));
}

TEST_CASE("oracle: use after the answer is counted once, use after allocation is not") {
  Setup setup;
  auto tables = FrameScan::create(setup.memory);
  if (!tables) {
    MESSAGE("skipped: ", tables.error().message);
    return;
  }
  tables->subscribe(setup.oracle);
  const auto scan = [&] { REQUIRE(tables->pass(0, Occasion::routine)); };
  Batch batch = Setup::batch_of(managed_start, 3);
  setup.oracle.on_taken(batch);
  setup.answer(batch, abi::Outcome::discarded);
  scan();
  CHECK(setup.oracle.totals().touched_bytes == 0);
  setup.set_allocated(managed_start);
  setup.touch(managed_start);
  setup.touch(managed_start + 5 * abi::page_bytes);
  scan();
  scan();
  CHECK(setup.oracle.totals().touched_bytes == abi::page_bytes);
}

TEST_CASE("oracle: tags that the guest may report are refused") {
  Setup setup;
  abi::GuestHello hello = Setup::hello();
  for (const std::uint64_t gpa : {managed_start, managed_start - 1, 32 * mib, ~std::uint64_t{0}}) {
    hello.tags_gpa = gpa;
    CHECK_FALSE(setup.oracle.configure(hello).has_value());
  }
}
