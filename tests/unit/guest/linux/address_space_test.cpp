// SPDX-License-Identifier: MIT
#include "guest/linux/address_space.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::AddressSpace;
using guest::linux::Frames;
using guest::linux::Protection;

constexpr std::uint64_t page = abi::page_bytes;
constexpr Protection read_write = PROT_READ | PROT_WRITE;

// Frames [first, end), each in use or not; and what was asked for their content.
class FakeFrames final : public Frames {
 public:
  bool claim(abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      if (frame < first || frame >= end || in_use.contains(frame)) {
        return false;
      }
    }
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      in_use.insert(frame);
    }
    return true;
  }
  std::optional<abi::Pfn> allocate(std::uint64_t count) override {
    for (std::uint64_t frame = first; frame < end; ++frame) {
      if (claim({frame}, count)) {
        return abi::Pfn{frame};
      }
    }
    return std::nullopt;
  }
  void renew(abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      REQUIRE(in_use.contains(frame));
      renewed.insert(frame);
    }
  }
  void copy(abi::Pfn to, abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = 0; frame < count; ++frame) {
      REQUIRE(in_use.contains(to.value + frame));
      REQUIRE(in_use.contains(from.value + frame));
    }
    copied += count;
  }
  void release(abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      REQUIRE(in_use.erase(frame) == 1);
    }
  }

  std::uint64_t first = 0x400;
  std::uint64_t end = 0x400 + 64;
  std::set<std::uint64_t> in_use;
  std::set<std::uint64_t> renewed;
  std::uint64_t copied = 0;
};

struct Fixture {
  FakeFrames frames;
  AddressSpace space{frames};
};

constexpr std::uint64_t base = 0x400 * page;

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
  CHECK(f.space.map_at(~std::uint64_t{0} & ~(page - 1), 2 * page, read_write).error() == EINVAL);
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
  REQUIRE(f.space.map_at(base, 2 * page, PROT_READ));
  CHECK(f.space.remap(base, 2 * page, 4 * page, AddressSpace::Move::no) == base);
  CHECK(f.space.allows(base, 4 * page, PROT_READ));
  REQUIRE(f.space.map_at(base + 4 * page, page, read_write));
  CHECK(f.space.remap(base, 4 * page, 5 * page, AddressSpace::Move::no).error() == ENOMEM);
  CHECK(f.frames.copied == 0);
  const auto moved = f.space.remap(base, 4 * page, 5 * page, AddressSpace::Move::yes);
  REQUIRE(moved);
  CHECK(*moved == base + 5 * page);
  CHECK(f.frames.copied == 4);
  CHECK_FALSE(f.space.allows(base, page, 0));
  CHECK_FALSE(f.space.allows(*moved, page, PROT_WRITE));
  CHECK(f.space.remap(*moved, 5 * page, page, AddressSpace::Move::no) == *moved);
  CHECK(f.frames.in_use.size() == 2);
  CHECK(f.space.remap(base, page, 2 * page, AddressSpace::Move::yes).error() == EFAULT);
  CHECK(f.space.remap(*moved, page, 0, AddressSpace::Move::yes).error() == EINVAL);
  CHECK(f.space.remap(*moved, page, 4096 * page, AddressSpace::Move::yes).error() == ENOMEM);
  CHECK(f.space.allows(*moved, page, PROT_READ));
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

TEST_CASE("random calls agree with a page by page model, and no frame is lost") {
  std::mt19937 random(11); // NOLINT(cert-msc*): the same every time
  Fixture f;
  std::map<std::uint64_t, Protection> model; // page address -> protection
  for (unsigned step = 0; step < 30'000; ++step) {
    const std::uint64_t address = base + random() % 66 * page;
    const std::uint64_t pages = 1 + random() % 8;
    const Protection protection = random() % 4;
    const auto has_all = [&] {
      for (std::uint64_t index = 0; index < pages; ++index) {
        if (!model.contains(address + index * page)) {
          return false;
        }
      }
      return true;
    };
    const auto set = [&](std::uint64_t from) {
      for (std::uint64_t index = 0; index < pages; ++index) {
        model[from + index * page] = protection;
      }
    };
    switch (random() % 4) {
    case 0:
      if (const auto got = f.space.map(pages * page, protection)) {
        set(*got);
      }
      break;
    case 1:
      if (f.space.map_at(address, pages * page, protection)) {
        set(address);
      } else {
        REQUIRE(address + pages * page > base + 64 * page);
      }
      break;
    case 2:
      REQUIRE(f.space.unmap(address, pages * page) == 0);
      for (std::uint64_t index = 0; index < pages; ++index) {
        model.erase(address + index * page);
      }
      break;
    default:
      REQUIRE((f.space.protect(address, pages * page, protection) == 0) == has_all());
      if (has_all()) {
        set(address);
      }
    }
    REQUIRE(f.frames.in_use.size() == model.size());
    REQUIRE(f.space.mapped_bytes() == model.size() * page);
    for (const auto& [at, rights] : model) {
      REQUIRE(f.space.allows(at, page, rights));
      REQUIRE(f.space.allows(at, page, PROT_READ | PROT_WRITE) == (rights == read_write));
    }
  }
}
