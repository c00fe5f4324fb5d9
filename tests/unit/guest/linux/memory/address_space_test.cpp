// SPDX-License-Identifier: MIT
#include "guest/linux/memory/address_space.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/address_space_fixture.hpp"

namespace {

using guest::linux::Access;
using guest::linux::AddressSpace;
using guest::linux::AddressZones;
using guest::linux::Commitment;
using guest::linux::PageTables;
using guest::linux::Protection;
using guest::linux::read_write;
using guest::linux::Resolution;
using Fixture = test_support::AddressSpaceFixture;
using test_support::FakeFrames;
using test_support::FakeTables;

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t huge = abi::huge_page_bytes;

constexpr std::uint64_t base = Fixture::base;

} // namespace

TEST_CASE("what is mapped is in use, what is unmapped goes back") {
  Fixture f;
  const auto address = f.space.map(3 * page - 1, read_write);
  REQUIRE(address);
  CHECK(f.frames.in_use.size() == 3);
  CHECK(f.space.allows(*address, 3 * page, PROT_WRITE));
  CHECK_FALSE(f.space.allows(*address, 3 * page + 1, 0));
  CHECK_FALSE(f.space.allows(*address, page, PROT_EXEC));
  CHECK(f.space.unmap(*address + page, page) == 0);
  CHECK(f.frames.in_use.size() == 2);
  CHECK_FALSE(f.space.allows(*address, 2 * page, 0));
  CHECK(f.space.allowed_bytes(*address, 3 * page, PROT_READ) == page);
  CHECK(f.space.unmap(*address, 3 * page) == 0); // with a gap in it
  CHECK(f.frames.in_use.empty());
  CHECK(f.space.mapped_bytes() == 0);
}

TEST_CASE("sizes and addresses that cannot be are refused") {
  Fixture f;
  CHECK(f.space.map(0, read_write).error() == EINVAL);
  CHECK(f.space.map(65 * page, read_write).error() == ENOMEM);
  CHECK(f.space.map(~std::uint64_t{0}, read_write).error() == ENOMEM);
  CHECK(f.space.map_at(base + 1, page, read_write).error() == EINVAL);
  CHECK(f.space.map_at(base, 0, read_write).error() == EINVAL);
  CHECK(f.space.map_at(base, ~std::uint64_t{0}, read_write).error() == ENOMEM);
  CHECK(f.space.map_at(~std::uint64_t{0} & ~(page - 1), 2 * page, read_write).error() == ENOMEM);
  CHECK(f.space.unmap(base + 1, page) == EINVAL);
  CHECK(f.space.unmap(base, 0) == EINVAL);
  CHECK(f.space.unmap(base, ~std::uint64_t{0}) == EINVAL);
  CHECK_FALSE(f.space.allows(~std::uint64_t{0}, 2, 0));
  CHECK_FALSE(f.space.allows(base, ~std::uint64_t{0}, 0));
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("a fixed mapping replaces what the program has, and nothing of others") {
  Fixture f;
  REQUIRE(f.space.map_at(base + 2 * page, 4 * page, PROT_READ) == base + 2 * page);
  REQUIRE(f.space.map_at(base + page, 3 * page, read_write) == base + page);
  CHECK(f.frames.in_use.size() == 5);
  CHECK(f.frames.renewed == std::set<std::uint64_t>{0x402, 0x403});
  CHECK(f.space.allows(base + page, 3 * page, PROT_WRITE));
  CHECK_FALSE(f.space.allows(base + 4 * page, page, PROT_WRITE));
  CHECK(f.space.map_free(base, 2 * page, read_write).error() == EEXIST);
  REQUIRE(f.frames.claim({0x408}, 1)); // somebody else's
  f.frames.renewed.clear();
  CHECK(f.space.map_at(base + 5 * page, 4 * page, read_write).error() == ENOMEM);
  CHECK(f.frames.in_use.size() == 6); // as before
  CHECK(f.frames.renewed.empty());
  CHECK_FALSE(f.space.allows(base + 5 * page, page, PROT_WRITE));
}

TEST_CASE("protection is of exactly what was named, and all of it must be there") {
  Fixture f;
  REQUIRE(f.space.map_at(base, 5 * page, read_write));
  CHECK(f.space.protect(base + page, 2 * page, PROT_READ) == 0);
  CHECK(f.space.allows(base, page, PROT_WRITE));
  CHECK_FALSE(f.space.allows(base + page, 1, PROT_WRITE));
  CHECK(f.space.allows(base + 3 * page, 2 * page, PROT_WRITE));
  CHECK(f.space.allows(base, 5 * page, PROT_READ));
  CHECK(f.space.protect(base + 4 * page, 2 * page, PROT_NONE) == ENOMEM);
  CHECK(f.space.allows(base + 4 * page, page, PROT_WRITE)); // nothing was done
  CHECK(f.space.protect(base + 1, page, PROT_NONE) == EINVAL);
  CHECK(f.space.protect(base, 0, PROT_NONE) == 0);
}

TEST_CASE("the break grows while there is room and gives back what it leaves") {
  Fixture f;
  f.space.set_break(base);
  CHECK(f.space.move_break(0) == base);
  CHECK(f.space.move_break(base + 10) == base + 10);
  CHECK(f.frames.in_use.size() == 1);
  CHECK(f.space.move_break(base + 5 * page) == base + 5 * page);
  CHECK(f.frames.in_use.size() == 5);
  CHECK(f.space.move_break(base + page + 1) == base + page + 1);
  CHECK(f.frames.in_use.size() == 2);
  REQUIRE(f.frames.claim({0x404}, 1));
  CHECK(f.space.move_break(base + 6 * page) == base + page + 1);
  CHECK(f.frames.in_use.size() == 3);
  CHECK(f.space.move_break(~std::uint64_t{0}) == base + page + 1);
  CHECK(f.space.move_break(base - 1) == base + page + 1);
}

TEST_CASE("a mapping grows in place where it can, else moves with its content") {
  Fixture f;
  REQUIRE(f.space.map_at(base, 2 * page, read_write));
  CHECK(f.space.remap(base, 2 * page, 4 * page, AddressSpace::Move::no) == base);
  CHECK(f.space.allows(base, 4 * page, PROT_WRITE));
  REQUIRE(f.space.map_at(base + 4 * page, page, read_write));
  CHECK(f.space.remap(base, 4 * page, 5 * page, AddressSpace::Move::no).error() == ENOMEM);
  CHECK(f.frames.copied == 0);
  const std::uint64_t stops = f.store.stops;
  const auto moved = f.space.remap(base, 4 * page, 5 * page, AddressSpace::Move::yes);
  REQUIRE(moved);
  CHECK(f.store.stops > stops); // or what others store while it is copied is lost
  CHECK(*moved == base + 8 * page);
  CHECK(f.frames.copied == 4);
  CHECK_FALSE(f.space.allows(base, page, 0));
  CHECK(f.space.remap(*moved, 5 * page, page, AddressSpace::Move::no) == *moved);
  CHECK(f.frames.in_use.size() == 2);
  CHECK(f.space.remap(base, page, 2 * page, AddressSpace::Move::yes).error() == EFAULT);
  CHECK(f.space.remap(*moved, page, 0, AddressSpace::Move::yes).error() == EINVAL);
  CHECK(f.space.remap(*moved, page, 4096 * page, AddressSpace::Move::yes).error() == ENOMEM);
  CHECK(f.space.allows(*moved, page, PROT_WRITE));
}

TEST_CASE("what is discarded stays mapped") {
  Fixture f;
  REQUIRE(f.space.map_at(base, 4 * page, read_write));
  CHECK(f.space.discard(base + page, 2 * page) == 0);
  CHECK(f.frames.renewed == std::set<std::uint64_t>{0x401, 0x402});
  CHECK(f.frames.in_use.size() == 4);
  CHECK(f.space.discard(base + 3 * page, 2 * page) == ENOMEM);
  CHECK(f.space.discard(base + 1, page) == EINVAL);
}

TEST_CASE("a touch of what is sparse, such as a thread's stack, brings little") {
  Fixture f(8192);
  const guest::linux::Content sparse{.is_sparse = true};
  const auto stack = f.space.map(8 << 20, PROT_NONE, Commitment::none, 0, sparse);
  REQUIRE(stack);
  CHECK(f.space.protect(*stack + page, (8 << 20) - page, read_write) == 0); // a guard page below
  CHECK(f.space.resolve(*stack + (8 << 20) - 8, Access::write) == Resolution::resolved);
  CHECK(f.frames.in_use.size() == 16);
  const auto moved = f.space.remap(*stack + page, (8 << 20) - page, (8 << 20) - page,
                                   AddressSpace::Move::yes, *stack - (std::uint64_t{1} << 30));
  REQUIRE(moved);
  CHECK(f.space.resolve(*moved + huge, Access::write) == Resolution::resolved);
  CHECK(f.frames.in_use.size() == 32); // wherever it goes
}

TEST_CASE(
    "what is not small, or not for reading and writing, takes no memory until it is touched") {
  Fixture f(8192);
  const auto text = f.space.map(3 * page, PROT_READ | PROT_EXEC);
  const auto large = f.space.map(8 << 20, read_write);
  const auto reserved = f.space.map(std::uint64_t{1} << 44, PROT_NONE, Commitment::none);
  const auto sparse = f.space.map(std::uint64_t{1} << 42, read_write, Commitment::none);
  REQUIRE((text && large && reserved && sparse));
  CHECK(f.frames.in_use.empty());
  CHECK(*large % huge == 0);
  for (const std::uint64_t at : {*text, *large, *reserved, *sparse}) {
    CHECK(at >= f.own_end);
    CHECK(at < AddressZones::last_open_end);
    CHECK_FALSE(f.space.is_resident(at));
  }
  CHECK(f.space.resolve(*large + 5 * page + 3, Access::write) == Resolution::resolved);
  CHECK(f.frames.in_use.size() == 512); // as long as there is plenty
  CHECK(f.store.walk(*large + 5 * page)->writable);
  CHECK_FALSE(f.store.walk(*large + 5 * page)->executable);
  CHECK(f.space.resolve(*text, Access::execute) == Resolution::resolved);
  CHECK(f.space.resolve(*text, Access::write) == Resolution::forbidden);
  CHECK(f.frames.in_use.size() == 513);
  CHECK(f.space.resolve(*reserved, Access::read) == Resolution::forbidden);
  CHECK(f.space.protect(*reserved + huge, 2 * page, read_write) == 0);
  CHECK(f.space.resolve(*reserved + huge, Access::read) == Resolution::resolved);
  CHECK(f.frames.in_use.size() == 514); // no more than may be used
  CHECK(f.space.resolve(*sparse + (std::uint64_t{1} << 41), Access::read) == Resolution::resolved);
  CHECK(f.space.resolve(*sparse - page, Access::read) != Resolution::resolved);
  CHECK(f.space.resolve(page, Access::read) == Resolution::unmapped);
  CHECK(f.space.unmap(*sparse, std::uint64_t{1} << 42) == 0);
  CHECK(f.frames.in_use.size() == 514);
  CHECK(f.space.resolve(*sparse, Access::read) == Resolution::unmapped);
  CHECK(f.space.discard(*large, 8 << 20) == 0);
  CHECK(f.space.unmap(*text, 3 * page) == 0);
  CHECK(f.space.unmap(*reserved, std::uint64_t{1} << 44) == 0);
  CHECK(f.frames.in_use.empty());
  CHECK(f.space.resolve(*large, Access::read) == Resolution::resolved); // still the program's
}

TEST_CASE(
    "a program that touches a page here and there gets what it touches when there is little") {
  Fixture f(4096);
  const auto sparse = f.space.map(std::uint64_t{1} << 40, read_write, Commitment::none);
  REQUIRE(sparse);
  unsigned touched = 0;
  for (; touched < 1000; ++touched) {
    REQUIRE(f.space.resolve(*sparse + touched * 2 * huge, Access::write) == Resolution::resolved);
  }
  Resolution last = Resolution::resolved;
  for (; touched < 4096 && last == Resolution::resolved; ++touched) {
    last = f.space.resolve(*sparse + touched * 2 * huge, Access::write);
  }
  CHECK(last == Resolution::out_of_memory);
  CHECK(f.frames.free_count() == 0);
  CHECK(f.space.unmap(*sparse, std::uint64_t{1} << 40) == 0);
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("what finds no place in RAM gets one above") {
  Fixture f;
  REQUIRE(f.space.map_at(base, 60 * page, read_write));
  const auto above = f.space.map(8 * page, read_write);
  REQUIRE(above);
  CHECK(*above >= f.own_end);
  for (std::uint64_t index = 0; index < 4; ++index) {
    CHECK(f.space.resolve(*above + index * page, Access::write) == Resolution::resolved);
  }
  CHECK(f.space.resolve(*above + 4 * page, Access::write) == Resolution::out_of_memory);
  CHECK(f.space.populate(*above, 8 * page) == ENOMEM);
  CHECK(f.space.unmap(*above, 8 * page) == 0);
  CHECK(f.frames.in_use.size() == 60);
}

TEST_CASE("a wish for an address above RAM is granted if it is free") {
  Fixture f;
  constexpr std::uint64_t wish = 0xc000000000;
  CHECK(f.space.map(64 * page, PROT_NONE, Commitment::none, wish) == wish);
  CHECK(f.space.map(64 * page, PROT_NONE, Commitment::none, wish) != wish);
  CHECK(f.space.map(page, read_write, Commitment::normal, f.own_start) != f.own_start);
  CHECK(f.space.map(2 * page, PROT_NONE, Commitment::none, AddressZones::last_open_end - page) !=
        AddressZones::last_open_end - page);
  CHECK(f.space.map(page, read_write, Commitment::normal, ~std::uint64_t{0} & ~(page - 1)));
}

TEST_CASE("where the guest lies, addresses can be reserved and nothing else") {
  Fixture f;
  constexpr std::uint64_t gap = std::uint64_t{1} << 41;
  CHECK(f.space.map_at(0xd0000000, gap, read_write).error() == ENOMEM);
  REQUIRE(f.space.map_at(0xd0000000, gap, PROT_NONE) == 0xd0000000);
  CHECK(f.space.protect(f.own_start, page, PROT_READ) == ENOMEM);
  CHECK(f.space.resolve(f.own_start, Access::read) == Resolution::forbidden);
  CHECK(f.space.protect(0xd0000000, page, PROT_READ) == 0);
  CHECK(f.space.discard(0xd0000000, gap) == 0);
  CHECK(f.space.unmap(0xd0000000, gap) == 0);
  CHECK(f.space.map_at(AddressZones::last_open_end, page, read_write).error() == ENOMEM);
  CHECK(f.space.mapped_bytes() == 0);
}

TEST_CASE("rights in RAM are kept by the page tables, and go when the memory does") {
  Fixture f(1024);
  REQUIRE(f.space.map_at(base, 4 * page, PROT_READ | PROT_EXEC) == base);
  CHECK(f.store.walk(base + 3 * page)->executable);
  CHECK_FALSE(f.store.walk(base + 3 * page)->writable);
  CHECK(f.store.walk(base + 4 * page)->writable);
  CHECK_FALSE(f.store.walk(base + 4 * page)->executable);
  CHECK(f.space.resolve(base, Access::write) == Resolution::forbidden);
  REQUIRE(f.space.map_at(base + huge, 8 * page, read_write));
  CHECK(f.store.is_large(base + huge));
  CHECK(f.space.protect(base + huge, page, PROT_NONE) == 0);
  CHECK_FALSE(f.store.walk(base + huge));
  CHECK(f.space.resolve(base + huge, Access::read) == Resolution::forbidden);
  CHECK(f.space.discard(base + huge, 2 * page) == 0);
  CHECK_FALSE(f.store.walk(base + huge));
  REQUIRE(f.space.map_at(base + page, page, PROT_READ)); // inside the other
  CHECK_FALSE(f.store.walk(base + page)->executable);
  CHECK(f.store.walk(base)->executable);
  CHECK(f.space.unmap(base + huge, 8 * page) == 0);
  CHECK(f.store.is_large(base + huge));
  CHECK(f.space.unmap(base, 4 * page) == 0);
  CHECK(f.store.is_large(base));
  CHECK(f.store.walk(base)->writable);
  CHECK_FALSE(f.store.walk(base)->executable);
  CHECK(f.frames.in_use.empty());
}

TEST_CASE("without memory for tables nothing is half done") {
  Fixture f(1024);
  REQUIRE(f.space.map_at(base, 8 * page, read_write));
  f.store.most = f.store.tables.size();
  CHECK(f.space.protect(base, page, PROT_READ) == ENOMEM);
  CHECK(f.space.allows(base, page, PROT_WRITE));
  CHECK(f.space.map_at(base + 6 * page, 4 * page, PROT_READ).error() == ENOMEM);
  CHECK(f.frames.in_use.size() == 8);
  CHECK(f.frames.renewed.empty());
  CHECK(f.space.allows(base + 6 * page, 2 * page, PROT_WRITE));
  CHECK_FALSE(f.space.allows(base + 8 * page, page, 0));
}

TEST_CASE("above RAM what moves is not copied") {
  Fixture f(4096);
  const auto at = f.space.map(3 * huge, read_write, Commitment::normal, std::uint64_t{1} << 41);
  REQUIRE(at);
  REQUIRE(f.space.populate(*at, 3 * huge) == 0);
  const std::uint64_t gpa = f.store.walk(*at + page)->gpa;
  REQUIRE(f.space.map_at(*at + 3 * huge, page, PROT_READ)); // in its way
  const auto moved = f.space.remap(*at, 3 * huge, 5 * huge, AddressSpace::Move::yes);
  REQUIRE(moved);
  CHECK(*moved != *at);
  CHECK(f.store.walk(*moved + page)->gpa == gpa);
  CHECK(f.frames.copied == 0);
  CHECK(f.frames.in_use.size() == 3 * 512);
  CHECK(f.space.resolve(*at, Access::read) == Resolution::unmapped);
  CHECK(f.space.resolve(*moved + 4 * huge, Access::read) == Resolution::resolved);
  constexpr std::uint64_t to = std::uint64_t{1} << 40;
  REQUIRE(f.space.map_at(to, huge, PROT_READ));
  CHECK(f.space.remap(*moved, 5 * huge, page, AddressSpace::Move::yes, to) == to);
  CHECK(f.store.walk(to)->writable);
  CHECK(f.space.resolve(to + page, Access::write) == Resolution::forbidden); // as it was there
  CHECK(f.space.remap(to, page, page, AddressSpace::Move::yes, to).error() == EINVAL);
  CHECK(f.space.remap(to, page, page, AddressSpace::Move::yes, to + 1).error() == EINVAL);
  CHECK(f.space.remap(to, page, page, AddressSpace::Move::yes, (std::uint64_t{1} << 47) - page)
            .error() == ENOMEM);
  CHECK(f.space.remap(to, page, ~std::uint64_t{0}, AddressSpace::Move::yes, to + huge).error() ==
        EINVAL);
  CHECK(f.space.allows(to, page, PROT_WRITE));
}

TEST_CASE("code is changed though the program may not write to it") {
  Fixture f(4096);
  const std::array<std::byte, 8> code{};
  const auto text = f.space.map(2 * page, PROT_READ | PROT_EXEC);
  REQUIRE(text);
  REQUIRE(f.space.map_at(base, 2 * page, PROT_READ | PROT_EXEC));
  f.space.write(*text + page - 3, code);
  const auto gpa = f.space.place_of(*text + page, 1)->gpa.value;
  CHECK(f.frames.written.at(gpa) == 5);
  f.space.write(base + 5, code);
  CHECK(f.frames.written.at(base + 5) == 8);
  CHECK_FALSE(f.store.walk(base)->writable);
  CHECK_FALSE(f.store.walk(*text)->writable);
  f.space.write(base + 2 * page, code); // not the program's
  CHECK_FALSE(f.frames.written.contains(base + 2 * page));
}

TEST_CASE("the host is told where things are, as far as they lie in a row") {
  Fixture f(4096);
  CHECK(f.space.place_of(base + 5, 3 * page)->gpa.value == base + 5);
  CHECK(f.space.place_of(base + 5, 3 * page)->bytes == 3 * page);
  CHECK(f.space.place_of(f.own_start + 1, page)->gpa.value == f.own_start + 1);
  const auto at = f.space.map(3 * page, PROT_READ);
  REQUIRE(at);
  const auto place = f.space.place_of(*at + page + 7, 2 * page);
  REQUIRE(place);
  CHECK(place->bytes == page - 7);
  CHECK(place->gpa.value == f.store.walk(*at + page + 7)->gpa);
  CHECK(f.space.place_of(*at - page, 1).error() == EFAULT);
  CHECK(f.space.populate(*at, 3 * page) == 0);
  CHECK(f.frames.in_use.size() == 3);
}

TEST_CASE("random calls agree with a page by page model, and no frame is lost") {
  std::mt19937 random(11); // NOLINT(cert-msc*): the same every time
  Fixture f;
  struct Known {
    Protection protection = 0;
    bool resident = false;
  };
  std::map<std::uint64_t, Known> model; // by page address
  constexpr std::uint64_t high = std::uint64_t{3} << 40;
  std::vector<std::uint64_t> places; // that map() chose
  for (unsigned step = 0; step < 4000; ++step) {
    std::uint64_t address = (random() % 2 == 0 ? base : high) + random() % 66 * page;
    if (!places.empty() && random() % 4 == 0) {
      address = places[random() % places.size()];
    }
    const std::uint64_t pages = 1 + random() % 8;
    const std::uint64_t end = address + pages * page;
    const Protection protection = random() % 8;
    if (end > AddressZones::last_open_end) {
      continue; // nothing but reservations
    }
    const auto count = static_cast<std::uint64_t>(
        std::distance(model.lower_bound(address), model.lower_bound(end)));
    const auto is_ram = [&](std::uint64_t at) { return at < f.zones.ram_end; };
    const auto set = [&](std::uint64_t from, bool renewed) {
      for (std::uint64_t at = from; at < from + pages * page; at += page) {
        Known& known = model[at];
        known = {protection, is_ram(at) || (known.resident && !renewed)};
      }
    };
    switch (random() % 7) {
    case 0:
      if (places.size() == 12) {
        REQUIRE(f.space.unmap(places.front(), 8 * page) == 0);
        model.erase(model.lower_bound(places.front()),
                    model.lower_bound(places.front() + 8 * page));
        places.erase(places.begin());
      }
      if (const auto got = f.space.map(pages * page, protection)) {
        REQUIRE(model.lower_bound(*got) == model.lower_bound(*got + pages * page));
        places.push_back(*got);
        set(*got, true);
      }
      break;
    case 1:
      if (f.space.map_at(address, pages * page, protection)) {
        set(address, true);
      }
      break;
    case 2:
      REQUIRE(f.space.unmap(address, pages * page) == 0);
      model.erase(model.lower_bound(address), model.lower_bound(end));
      break;
    case 3: {
      const Access access = random() % 2 == 0 ? Access::write : Access::execute;
      const auto known = model.find(address);
      const Resolution result = f.space.resolve(address + random() % page, access);
      const Protection needed = access == Access::write ? PROT_WRITE : PROT_EXEC;
      if (known == model.end()) {
        REQUIRE(result == Resolution::unmapped);
      } else if ((known->second.protection & needed) == 0) {
        REQUIRE(result == Resolution::forbidden);
      } else if (result == Resolution::out_of_memory) {
        REQUIRE(f.frames.free_count() == 0);
      } else {
        REQUIRE(result == Resolution::resolved);
      }
      break;
    }
    case 4:
      if (f.space.discard(address, pages * page) == 0) {
        REQUIRE(count == pages);
      }
      for (auto at = model.lower_bound(address); at != model.lower_bound(end); ++at) {
        at->second.resident = is_ram(at->first);
      }
      break;
    default:
      REQUIRE((f.space.protect(address, pages * page, protection) == 0) == (count == pages));
      if (count == pages) {
        set(address, false);
      }
    }
    // A touch may have brought what lies around it.
    std::uint64_t resident = 0;
    for (auto& [at, known] : model) {
      REQUIRE(f.space.allows(at, page, known.protection));
      REQUIRE(f.space.allows(at, page, read_write) ==
              ((known.protection & read_write) == read_write));
      known.resident = f.space.is_resident(at);
      REQUIRE((known.resident || !is_ram(at)));
      resident += known.resident ? 1 : 0;
      const auto meaning = f.store.walk(at);
      REQUIRE(meaning.has_value() == (known.resident && known.protection != 0));
      if (meaning) {
        REQUIRE(meaning->writable == ((known.protection & PROT_WRITE) != 0));
        REQUIRE(meaning->executable == ((known.protection & PROT_EXEC) != 0));
        REQUIRE((!is_ram(at) || meaning->gpa == at));
      }
    }
    REQUIRE(f.frames.in_use.size() == resident);
    REQUIRE(f.space.mapped_bytes() == model.size() * page);
  }
}
