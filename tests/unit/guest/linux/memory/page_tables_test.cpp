// SPDX-License-Identifier: MIT
#include "guest/linux/memory/page_tables.hpp"

#include <map>
#include <random>

#include <doctest/doctest.h>

#include "tests/support/fake_frames.hpp"

namespace {

using guest::linux::PageTables;
using guest::linux::Protection;
using guest::linux::protection_none;
using guest::linux::read_write;
using test_support::FakeFrames;
using test_support::FakeTables;

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t huge = abi::huge_page_bytes;
constexpr std::uint64_t far = std::uint64_t{0x7f1234600000}; // a multiple of 2 MiB

struct Fixture {
  explicit Fixture(std::uint64_t frame_count = 4096) { frames.end = frames.first + frame_count; }
  FakeFrames frames;
  FakeTables store;
  PageTables tables{store, store.root};
};

} // namespace

TEST_CASE("pages that are mapped mean their frames, with their rights") {
  Fixture f;
  const auto first = f.frames.allocate(3);
  REQUIRE(first);
  REQUIRE(f.tables.map(far, *first, 3, PROT_READ));
  REQUIRE(f.store.walk(far + page + 5));
  CHECK(f.store.walk(far + page + 5)->gpa == abi::to_gpa(*first + 1).value + 5);
  CHECK_FALSE(f.store.walk(far)->writable);
  CHECK_FALSE(f.store.walk(far)->executable);
  CHECK_FALSE(f.store.walk(far + 3 * page));
  CHECK_FALSE(f.store.walk(far - 1));
  f.tables.protect(far, far + page, read_write);
  f.tables.protect(far + page, far + 2 * page, PROT_READ | PROT_EXEC);
  CHECK(f.store.flushes == 0); // who may do more than before need not know
  CHECK(f.store.walk(far)->writable);
  CHECK(f.store.walk(far + page)->executable);
  f.tables.protect(far, far + page, protection_none);
  CHECK(f.store.flushes == 1);
  CHECK_FALSE(f.store.walk(far));
  CHECK(f.tables.find(far)->first == *first); // it is still there
  f.tables.unmap(far, far + 3 * page, f.frames);
  CHECK(f.frames.in_use.empty());
  CHECK(f.store.tables.size() == 1); // the root
  CHECK_FALSE(f.tables.find(far));
}

TEST_CASE("2 MiB in a row are one leaf until it is cut") {
  Fixture f;
  const auto first = f.frames.allocate(512);
  REQUIRE(first);
  REQUIRE(f.tables.map(far, *first, 512, read_write));
  CHECK(f.store.is_large(far));
  CHECK(f.tables.find(far + 5 * page)->count == 507);
  REQUIRE(f.tables.cut(far + 5 * page));
  CHECK_FALSE(f.store.is_large(far));
  CHECK(f.store.walk(far + 7 * page)->gpa == abi::to_gpa(*first + 7).value);
  f.tables.protect(far + 4 * page, far + 5 * page, PROT_READ);
  CHECK(f.store.walk(far + 3 * page)->writable);
  CHECK_FALSE(f.store.walk(far + 4 * page)->writable);
  f.tables.fold(far, far + huge);
  CHECK_FALSE(f.store.is_large(far)); // they are not alike
  f.tables.protect(far + 4 * page, far + 5 * page, read_write);
  f.tables.fold(far + page, far + 2 * page);
  CHECK(f.store.is_large(far));
  CHECK(f.store.walk(far + 7 * page)->gpa == abi::to_gpa(*first + 7).value);
  f.tables.unmap(far, far + huge, f.frames);
  CHECK(f.frames.in_use.empty());
  CHECK(f.store.tables.size() == 1);
}

TEST_CASE("tables of somebody else are changed and stay") {
  Fixture f;
  f.store.map_ram(0x400000, 0x800000);
  const std::size_t before = f.store.tables.size();
  REQUIRE(f.tables.cut(0x401000));
  REQUIRE(f.tables.cut(0x402000));
  f.tables.protect(0x401000, 0x402000, PROT_READ | PROT_EXEC);
  CHECK(f.store.walk(0x401000)->executable);
  CHECK_FALSE(f.store.walk(0x401000)->writable);
  CHECK(f.store.walk(0x400000)->writable);
  CHECK(f.store.walk(0x402000)->writable);
  CHECK(f.store.tables.size() == before + 1);
  f.tables.protect(0x401000, 0x402000, read_write);
  f.tables.fold(0x401000, 0x402000);
  // The page that was changed and those that were not look different to us, not to the processor.
  CHECK(f.store.walk(0x401000)->writable);
  CHECK(f.store.walk(0x7fffff)->gpa == 0x7fffff);
  CHECK(f.store.is_large(0x400000));
  CHECK(f.store.tables.size() == before);
}

TEST_CASE("without memory for tables nothing is changed") {
  Fixture f;
  const auto first = f.frames.allocate(512);
  REQUIRE(first);
  f.store.most = 3; // two of the three that a page needs
  CHECK_FALSE(f.tables.map(far, *first, 2, read_write));
  CHECK_FALSE(f.tables.find(far));
  f.store.most = 4;
  REQUIRE(f.tables.map(far + huge - page, *first, 1, read_write));
  CHECK_FALSE(f.tables.map(far + huge, *first + 1, 2, read_write));
  CHECK_FALSE(f.tables.move(far, far + huge, huge));
  CHECK(f.tables.find(far + huge - page)->first == *first);
  f.tables.unmap(far, far + huge, f.frames);
  CHECK(f.store.tables.size() == 1);
  f.store.most = 3;
  REQUIRE(f.frames.claim(*first, 1));
  REQUIRE(f.tables.map(far, *first, 512, read_write)); // a leaf of 2 MiB needs no table of pages
  CHECK_FALSE(f.tables.cut(far + page));
  CHECK(f.store.walk(far + page)->gpa == abi::to_gpa(*first + 1).value);
}

TEST_CASE("what moves takes its frames and rights along") {
  Fixture f;
  const auto first = f.frames.allocate(512);
  const auto second = f.frames.allocate(4);
  REQUIRE(first);
  REQUIRE(second);
  REQUIRE(f.tables.map(far, *first, 512, PROT_READ));
  REQUIRE(f.tables.map(far + huge + page, *second, 4, read_write));
  f.tables.protect(far + huge + page, far + huge + 2 * page, protection_none);
  for (const std::uint64_t distance : {16 * huge, page, std::uint64_t{0} - 32 * huge}) {
    CAPTURE(distance);
    const std::uint64_t to = far + 64 * huge * (distance % huge == 0 ? 1 : 3) + distance % huge;
    REQUIRE(f.tables.move(far, far + 2 * huge, to - far));
    CHECK_FALSE(f.store.walk(far));
    CHECK(f.store.walk(to + 3 * page)->gpa == abi::to_gpa(*first + 3).value);
    CHECK_FALSE(f.store.walk(to)->writable);
    CHECK_FALSE(f.store.walk(to + huge + page));
    CHECK(f.tables.find(to + huge + page)->first == *second);
    CHECK(f.store.walk(to + huge + 2 * page)->writable);
    REQUIRE(f.tables.move(to, to + 2 * huge, far - to));
    CHECK(f.frames.in_use.size() == 516);
  }
  f.tables.unmap(0, std::uint64_t{1} << 47, f.frames);
  CHECK(f.frames.in_use.empty());
  CHECK(f.store.tables.size() == 1);
}

TEST_CASE("a fault where all is well makes the processor look again") {
  Fixture f;
  const auto first = f.frames.allocate(1);
  REQUIRE(first);
  REQUIRE(f.tables.map(far, *first, 1, PROT_READ));
  CHECK(f.tables.refresh(far, PROT_READ));
  CHECK_FALSE(f.tables.refresh(far, PROT_WRITE));
  CHECK_FALSE(f.tables.refresh(far, PROT_EXEC));
  CHECK_FALSE(f.tables.refresh(far + page, PROT_READ));
  CHECK(f.store.flushes == 1);
}

TEST_CASE("the whole of the lower half can be looked through") {
  Fixture f;
  const std::uint64_t last = (std::uint64_t{1} << 47) - page;
  const auto first = f.frames.allocate(2);
  REQUIRE(first);
  REQUIRE(f.tables.map(last, *first, 1, read_write));
  REQUIRE(f.tables.map(0, *first + 1, 1, read_write));
  CHECK_FALSE(f.tables.is_empty(0, std::uint64_t{1} << 47));
  CHECK(f.tables.is_empty(page, last));
  CHECK(f.tables.find(last)->count == 1);
  f.tables.unmap(0, std::uint64_t{1} << 47, f.frames);
  CHECK(f.store.tables.size() == 1);
}

TEST_CASE("random changes agree with a page by page model, and the processor never knows more") {
  std::mt19937 random(3); // NOLINT(cert-msc*): the same every time
  Fixture f;
  struct Known {
    std::uint64_t frame = 0;
    Protection protection = 0;
  };
  constexpr std::uint64_t pages = 3 * 512;
  std::map<std::uint64_t, Known> model;
  for (unsigned step = 0; step < 1500; ++step) {
    const std::uint64_t from = random() % 4 == 0 ? random() % 3 * 512 : random() % pages;
    const std::uint64_t count = random() % 4 == 0 ? 512 : 1 + random() % 40;
    const std::uint64_t to = std::min(from + count, pages);
    const std::uint64_t start = far + from * page;
    const std::uint64_t end = far + to * page;
    const Protection protection = random() % 8;
    REQUIRE(f.tables.cut(start));
    REQUIRE(f.tables.cut(end));
    switch (random() % 4) {
    case 0:
      if (f.tables.is_empty(start, end)) {
        const auto first = f.frames.allocate(to - from);
        REQUIRE(first);
        REQUIRE(f.tables.map(start, *first, to - from, protection));
        for (std::uint64_t index = from; index < to; ++index) {
          model[index] = {first->value + (index - from), protection};
        }
      }
      break;
    case 1:
      f.tables.unmap(start, end, f.frames);
      model.erase(model.lower_bound(from), model.lower_bound(to));
      break;
    case 2:
      f.tables.fold(start, end);
      break;
    default:
      f.tables.protect(start, end, protection);
      for (auto at = model.lower_bound(from); at != model.lower_bound(to); ++at) {
        at->second.protection = protection;
      }
    }
    REQUIRE(f.frames.in_use.size() == model.size());
    for (std::uint64_t index = 0; index < pages; index += 1 + random() % 7) {
      const auto meaning = f.store.walk(far + index * page);
      const auto known = model.find(index);
      const bool visible = known != model.end() && known->second.protection != 0;
      REQUIRE(meaning.has_value() == visible);
      if (visible) {
        REQUIRE(meaning->gpa == known->second.frame * page);
        REQUIRE(meaning->writable == ((known->second.protection & PROT_WRITE) != 0));
        REQUIRE(meaning->executable == ((known->second.protection & PROT_EXEC) != 0));
      }
    }
  }
  f.tables.unmap(far, far + 3 * huge, f.frames);
  CHECK(f.store.tables.size() == 1);
}
