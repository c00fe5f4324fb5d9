// SPDX-License-Identifier: MIT
#include <sys/mman.h>

#include <cerrno>

#include <doctest/doctest.h>

#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/memory/area_views.hpp"
#include "tests/support/address_space_fixture.hpp"

namespace {

using guest::linux::Access;
using guest::linux::AddressSpace;
using guest::linux::Commitment;
using guest::linux::Content;
using guest::linux::read_write;
using guest::linux::Resolution;
using Fixture = test_support::AddressSpaceFixture;

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint32_t file = 7;

// The content behind an address, after a touch; of no file: zeroes.
Content shown_at(Fixture& f, std::uint64_t address) {
  if (f.space.resolve(address, Access::read) != Resolution::resolved) {
    return {.file = 99, .offset = 0};
  }
  const auto meaning = f.store.walk(address);
  REQUIRE(meaning);
  const auto found = f.contents.shown.find(meaning->gpa / page);
  return found == f.contents.shown.end() ? Content{} : found->second;
}

} // namespace

TEST_CASE("what shows a file is loaded when it is touched, and no more than the file has") {
  Fixture f(4096);
  f.contents.files[file] = 100 * page + 1;
  const auto place = f.space.map(200 * page, PROT_READ, Commitment::none, 0, {file, 4 * page});
  REQUIRE(place);
  CHECK(f.contents.loads == 0);
  CHECK(f.frames.in_use.empty());
  CHECK(shown_at(f, *place + 70 * page) == Content{file, 74 * page});
  CHECK(f.contents.loads == 1);
  CHECK(f.contents.shown.size() == 33); // up to the end of the file, and no page behind it
  CHECK(shown_at(f, *place + 96 * page) == Content{file, 100 * page});
  CHECK(f.contents.loads == 1);
  CHECK(f.space.resolve(*place + 97 * page, Access::read) == Resolution::nothing_to_show);
  CHECK(f.space.resolve(*place + 150 * page, Access::read) == Resolution::nothing_to_show);
  CHECK(f.space.resolve(*place, Access::write) == Resolution::forbidden);
  CHECK(f.contents.shown.size() == 33);
  CHECK(f.space.shows(*place + 96 * page, page));
  CHECK_FALSE(f.space.shows(*place + 96 * page, page + 1));
  CHECK(f.space.place_of(*place + 97 * page, 1).error() == EFAULT);
  CHECK(f.space.populate(*place, 200 * page) == EFAULT);
  // The guest's own code finds zeroes.
  CHECK(f.space.resolve_for_guest(*place + 97 * page, Access::read) == Resolution::resolved);
  CHECK(f.space.unmap(*place, 200 * page) == 0);
  CHECK(f.contents.files.empty());
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("a file that cannot be read is a fault and keeps no memory") {
  Fixture f(1024);
  f.contents.files[file] = 64 * page;
  f.contents.error = EIO;
  const auto place = f.space.map(64 * page, PROT_READ, Commitment::none, 0, {file, 0});
  REQUIRE(place);
  CHECK(f.space.resolve(*place, Access::read) == Resolution::nothing_to_show);
  CHECK_FALSE(f.store.walk(*place));
  f.contents.error = 0;
  CHECK(shown_at(f, *place) == Content{file, 0});
}

TEST_CASE("what files take does not come from what others have left of a block") {
  Fixture f(4096);
  f.contents.files[file] = 1024 * page;
  REQUIRE(f.space.map_at(Fixture::base, page, read_write)); // as the break begins
  const auto place = f.space.map(1024 * page, PROT_READ, Commitment::none, 0, {file, 0});
  REQUIRE(place);
  for (std::uint64_t at = 0; at < 1024; at += 64) {
    REQUIRE(f.space.resolve(*place + at * page, Access::read) == Resolution::resolved);
  }
  CHECK(f.space.map_free(Fixture::base + page, 511 * page, read_write));
}

TEST_CASE("without memory a touch of a file gets less, and at last none") {
  Fixture f(64);
  f.contents.files[file] = 1024 * page;
  const auto place = f.space.map(1024 * page, PROT_READ, Commitment::none, 0, {file, 0});
  REQUIRE(place);
  Resolution last = Resolution::resolved;
  for (std::uint64_t at = 0; at < 128 && last == Resolution::resolved; ++at) {
    last = f.space.resolve(*place + at * 8 * page, Access::read);
  }
  CHECK(last == Resolution::out_of_memory);
  CHECK(f.frames.free_count() == 0);
  CHECK(f.space.unmap(*place, 1024 * page) == 0);
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("what shows a file goes on showing it, however it is cut, moved and given back") {
  Fixture f(8192);
  f.contents.files[file] = 4096 * page;
  const auto place = f.space.map(256 * page, read_write, Commitment::none, 0, {file, 16 * page});
  REQUIRE(place);
  CHECK(f.space.protect(*place + 8 * page, 8 * page, PROT_READ) == 0);
  CHECK(shown_at(f, *place + 20 * page) == Content{file, 36 * page});
  CHECK(f.space.protect(*place + 8 * page, 8 * page, read_write) == 0); // one area again
  CHECK(f.space.unmap(*place + 100 * page, 10 * page) == 0);
  CHECK(shown_at(f, *place + 115 * page) == Content{file, 131 * page});
  CHECK(f.space.discard(*place + 110 * page, 10 * page) == 0);
  CHECK(shown_at(f, *place + 115 * page) == Content{file, 131 * page});
  // Zeroes in the middle of it, and what is behind them.
  f.contents.shown.clear();
  CHECK(f.space.map_at(*place + 128 * page, page, read_write));
  CHECK(shown_at(f, *place + 128 * page).is_zero());
  CHECK(shown_at(f, *place + 129 * page) == Content{file, 145 * page});
  // Moved and grown: what was loaded moves with it, the rest is loaded there.
  const auto moved =
      f.space.remap(*place + 129 * page, 64 * page, 512 * page, AddressSpace::Move::yes);
  REQUIRE(moved);
  CHECK(shown_at(f, *moved) == Content{file, 145 * page});
  CHECK(shown_at(f, *moved + 500 * page) == Content{file, 645 * page});
  CHECK(f.space.unmap(*place, 256 * page) == 0);
  CHECK(f.contents.files.contains(file));
  CHECK(f.space.unmap(*moved, 512 * page) == 0);
  CHECK(f.contents.files.empty());
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("in RAM a small part of a file is loaded at once, or is not there") {
  Fixture f(1024);
  f.contents.files[file] = 3 * page + 5;
  REQUIRE(f.space.map_at(Fixture::base, 8 * page, PROT_READ, {file, page}) == Fixture::base);
  CHECK(f.contents.shown.at(0x400) == Content{file, page});
  CHECK(f.contents.shown.at(0x402) == Content{file, 3 * page});
  CHECK_FALSE(f.contents.shown.contains(0x403));
  CHECK_FALSE(f.store.walk(Fixture::base)->writable);
  const int loads = f.contents.loads;
  CHECK(f.space.discard(Fixture::base, 8 * page) == 0);
  CHECK(f.contents.loads == loads + 1);
  CHECK_FALSE(f.store.walk(Fixture::base)->writable);
  f.contents.files[8] = page;
  f.contents.error = EIO;
  CHECK(f.space.map_at(Fixture::base + 16 * page, page, PROT_READ, {8, 0}).error() == EIO);
  CHECK_FALSE(f.space.has_any(Fixture::base + 16 * page, page));
  CHECK_FALSE(f.contents.files.contains(8));
  CHECK(f.store.walk(Fixture::base + 16 * page)->writable);
  CHECK(f.space.unmap(Fixture::base, 8 * page) == 0);
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("in RAM a large part of a file is hidden until it is touched") {
  Fixture f(4096);
  constexpr std::uint64_t base = Fixture::base;
  f.contents.files[file] = 1000 * page + 1;
  REQUIRE(f.space.map_at(base + 3 * page, 1100 * page, PROT_READ | PROT_EXEC, {file, 3 * page}));
  CHECK(f.contents.loads == 0);
  CHECK(f.frames.in_use.size() == 1100); // taken, and not yet touched by anybody
  CHECK_FALSE(f.store.walk(base + 3 * page));
  CHECK(f.store.walk(base + 2 * page)->writable); // others' is as it was
  CHECK_FALSE(f.space.is_resident(base + 600 * page));
  CHECK(shown_at(f, base + 600 * page) == Content{file, 600 * page});
  CHECK(f.contents.loads == 1);
  CHECK(f.store.walk(base + 600 * page)->executable);
  CHECK_FALSE(f.store.walk(base + 600 * page)->writable);
  CHECK(f.space.is_resident(base + 639 * page)); // 256 KiB around it
  CHECK_FALSE(f.space.is_resident(base + 640 * page));
  CHECK(f.space.resolve(base + 600 * page, Access::write) == Resolution::forbidden);

  // Rights change while it is hidden, and what is loaded later has them.
  CHECK(f.space.protect(base + 500 * page, 20 * page, PROT_NONE) == 0);
  CHECK(f.space.resolve(base + 510 * page, Access::read) == Resolution::forbidden);
  CHECK(f.space.protect(base + 500 * page, 20 * page, read_write) == 0);
  CHECK(shown_at(f, base + 510 * page) == Content{file, 510 * page});
  CHECK(f.store.walk(base + 510 * page)->writable);
  CHECK_FALSE(f.store.walk(base + 499 * page));

  // Its end, and the guest's own code behind it.
  CHECK(shown_at(f, base + 1000 * page) == Content{file, 1000 * page});
  CHECK(f.space.resolve(base + 1001 * page, Access::read) == Resolution::nothing_to_show);
  CHECK_FALSE(f.space.shows(base + 1000 * page, 2 * page));
  CHECK(f.space.resolve_for_guest(base + 1002 * page, Access::read) == Resolution::resolved);
  CHECK(f.store.walk(base + 1002 * page));
  CHECK_FALSE(f.store.walk(base + 1003 * page));

  // The host is told of what is loaded, and no further.
  CHECK(f.space.place_of(base + 700 * page + 5, 1000 * page)->bytes == 4 * page - 5);
  CHECK(f.space.place_of(base, 1000 * page)->bytes == 3 * page); // in front of what is hidden
  CHECK(f.space.place_of(base + 1050 * page, 1).error() == EFAULT);

  // Given back: loaded anew. Replaced: zeroes. Unmapped: RAM as others expect it.
  const int loads = f.contents.loads;
  CHECK(f.space.discard(base + 590 * page, 20 * page) == 0);
  CHECK_FALSE(f.store.walk(base + 600 * page));
  CHECK(shown_at(f, base + 600 * page) == Content{file, 600 * page});
  CHECK(f.contents.loads == loads + 1);
  REQUIRE(f.space.map_at(base + 200 * page, 100 * page, read_write));
  CHECK(f.store.walk(base + 250 * page)->writable);
  CHECK_FALSE(f.store.walk(base + 199 * page));
  CHECK(f.space.unmap(base, 2048 * page) == 0);
  CHECK(f.contents.files.empty());
  CHECK(f.frames.in_use.empty());
  for (std::uint64_t at = base; at < base + 2048 * page; at += page) {
    const auto meaning = f.store.walk(at);
    REQUIRE(meaning);
    REQUIRE(meaning->writable);
    REQUIRE_FALSE(meaning->executable);
  }
  CHECK(f.store.is_large(base));
}

// Whoever may see a page of the program's before its content is there has been stopped.
TEST_CASE("in RAM other vCPUs do not see what is not loaded yet") {
  Fixture f(4096);
  constexpr std::uint64_t base = Fixture::base;
  f.contents.files[file] = 1000 * page;
  std::uint64_t stops = 0;
  f.contents.meanwhile = [&](abi::Pfn first) {
    const auto meaning = f.store.walk(abi::to_gpa(first).value);
    CHECK((!meaning || f.store.stops > stops));
  };
  REQUIRE(f.space.map_at(base, 4 * page, read_write, {file, 0})); // loaded at once
  CHECK(f.contents.loads == 1);
  REQUIRE(f.space.map_at(base + 8 * page, 100 * page, read_write, {file, 8 * page}));
  stops = f.store.stops;
  CHECK(shown_at(f, base + 20 * page) == Content{file, 20 * page});
  CHECK(f.contents.loads == 2);
}

TEST_CASE("what is hidden and cannot be read stays hidden") {
  Fixture f(4096);
  f.contents.files[file] = 100 * page;
  REQUIRE(f.space.map_at(Fixture::base, 100 * page, read_write, {file, 0}));
  f.contents.error = EIO;
  CHECK(f.space.resolve(Fixture::base, Access::read) == Resolution::nothing_to_show);
  CHECK_FALSE(f.store.walk(Fixture::base));
  f.contents.error = 0;
  CHECK(shown_at(f, Fixture::base) == Content{file, 0});
  CHECK(f.space.unmap(Fixture::base, 100 * page) == 0);
  CHECK(f.store.is_large(Fixture::base));
}

// ---- a file's own frames -----------------------------------------------------------------------

namespace {

constexpr Content shared_at(std::uint64_t offset) {
  return {.file = file, .offset = offset, .sharing = Content::Sharing::shared};
}

// The page of the file that an address means.
std::uint64_t page_at(Fixture& f, std::uint64_t address) {
  return f.store.walk(address)->gpa / page - test_support::FakeContents::first_own;
}

} // namespace

TEST_CASE("shared memory shows the file's own frames, and may be written to once the file knows") {
  Fixture f;
  f.contents.files[file] = 10 * page;
  const auto place = f.space.map(20 * page, read_write, Commitment::none, 0, shared_at(2 * page));
  REQUIRE(place);
  REQUIRE(f.space.resolve(*place + page, Access::read) == Resolution::resolved);
  CHECK(page_at(f, *place + page) == 3);
  CHECK(!f.store.walk(*place + page)->writable);
  CHECK(f.contents.dirty.empty());
  REQUIRE(f.space.resolve(*place + page, Access::write) == Resolution::resolved);
  CHECK(page_at(f, *place + page) == 3);
  CHECK(f.store.walk(*place + page)->writable);
  CHECK(f.contents.dirty.contains(3));
  CHECK(f.space.resolve(*place + 8 * page, Access::write) == Resolution::nothing_to_show);
  f.contents.files[file] = 11 * page; // it grows
  CHECK(f.space.resolve(*place + 8 * page, Access::write) == Resolution::resolved);
  // What the host is given to write to is written to.
  CHECK(f.space.place_of(*place + 2 * page + 5, 3 * page)->bytes == page - 5);
  CHECK(f.contents.dirty.contains(4));
  // Without the right to write, then with it, then without.
  CHECK(f.space.protect(*place, 20 * page, PROT_READ) == 0);
  CHECK(f.space.resolve(*place + page, Access::write) == Resolution::forbidden);
  REQUIRE(f.space.resolve(*place + page, Access::read) == Resolution::resolved);
  CHECK(!f.store.walk(*place + page)->writable);
  f.contents.dirty.clear();
  CHECK(f.space.protect(*place, 20 * page, read_write) == 0);
  REQUIRE(f.space.resolve(*place + page, Access::read) == Resolution::resolved);
  CHECK(!f.store.walk(*place + page)->writable);
  CHECK(f.space.is_shared(*place + 5));
  CHECK(f.frames.in_use.empty()); // nothing is the memory's own
  CHECK(f.space.unmap(*place, 20 * page) == 0);
  CHECK(f.contents.files.empty());
}

TEST_CASE("what shares a file that may only be read does not become writable") {
  Fixture f;
  f.contents.files[file] = 10 * page;
  const auto place =
      f.space.map(4 * page, PROT_READ, Commitment::none, 0,
                  {.file = file, .offset = 0, .sharing = Content::Sharing::read_only});
  REQUIRE(place);
  CHECK(f.space.protect(*place, page, read_write) == EACCES);
  CHECK(f.space.protect(*place, page, PROT_READ | PROT_EXEC) == 0);
  CHECK(f.space.resolve(*place, Access::write) == Resolution::forbidden);
  CHECK_FALSE(f.space.is_shared(*place));
}

TEST_CASE("shared memory: what is hidden is asked for again; moves and discards keep the frames") {
  Fixture f;
  f.contents.files[file] = 100 * page;
  guest::linux::AreaViews views(f.areas, f.tables);
  const auto one = f.space.map(10 * page, read_write, Commitment::none, 0, shared_at(0));
  const auto other = f.space.map(10 * page, PROT_READ, Commitment::none, 0, shared_at(5 * page));
  const auto copy = f.space.map(10 * page, PROT_READ, Commitment::none, 0, {file, 0});
  CHECK(f.space.populate(*one, 10 * page) == 0);
  CHECK(f.space.populate(*other, 10 * page) == 0);
  CHECK(f.space.populate(*copy, 10 * page) == 0);
  const std::size_t copied = f.frames.in_use.size();
  views.hide(file, 6 * page, 8 * page);
  const auto is_there = [&](std::uint64_t address) { return f.space.is_resident(address); };
  CHECK(is_there(*one + 5 * page));
  CHECK(!is_there(*one + 6 * page));
  CHECK(!is_there(*one + 7 * page));
  CHECK(is_there(*one + 8 * page));
  CHECK(is_there(*other));
  CHECK(!is_there(*other + page));
  CHECK(!is_there(*other + 2 * page));
  CHECK(is_there(*other + 3 * page));
  CHECK(is_there(*copy + 6 * page));
  const auto moved = f.space.remap(*one, 10 * page, 30 * page, AddressSpace::Move::yes);
  REQUIRE(moved);
  CHECK(page_at(f, *moved + 5 * page) == 5);
  REQUIRE(f.space.resolve(*moved + 20 * page, Access::read) == Resolution::resolved);
  CHECK(page_at(f, *moved + 20 * page) == 20);
  CHECK(f.space.discard(*moved, 30 * page) == 0);
  CHECK(!is_there(*moved + 5 * page));
  CHECK(f.frames.in_use.size() == copied);
  // In RAM every address has a frame of its own.
  const auto ram = f.space.map(page, read_write);
  CHECK(f.space.map_at(*ram, page, read_write, shared_at(0)).error() == ENOMEM);
  CHECK(f.space.allows(*ram, page, read_write));
  views.hide(file, 0, ~std::uint64_t{0});
  CHECK(!is_there(*other + 3 * page));
}
