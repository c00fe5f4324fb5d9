// SPDX-License-Identifier: MIT
// Programs with the same addresses in one address space (fork): each finds its own content.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include "guest/linux/memory/address_space.hpp"
#include "tests/support/linux/hosted_memory.hpp"

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using test_support::HostedMemory;

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t ram_bytes = std::uint64_t{64} << 20;

// Files 1, 2...: their pages say so, and nothing is shared.
struct NoFiles final : PageContents {
  Or<std::uint64_t> load(const Content& from, abi::Pfn first, std::uint64_t count) override {
    std::memset(reinterpret_cast<void*>(abi::to_gpa(first).value), static_cast<int>(from.file),
                count * page); // NOLINT
    return count * page;
  }
  Or<Shown> show(const Content& /*from*/, Access /*access*/) override {
    return std::unexpected(EFAULT);
  }
  void forget(std::uint32_t file) override { forgotten.push_back(file); }
  std::vector<std::uint32_t> forgotten;
};

struct Programs {
  Programs() {
    memory.serve(space);
    add();
    enter(0);
  }
  ~Programs() {
    for (auto& occupant : occupants) {
      if (occupant != nullptr) {
        leave(*occupant);
      }
    }
  }
  Occupant& add() {
    auto made = std::make_unique<Occupant>();
    made->number = static_cast<std::uint32_t>(occupants.size()) + 1;
    space.add(*made);
    occupants.push_back(std::move(made));
    return *occupants.back();
  }
  void enter(std::size_t index) { REQUIRE(space.enter(*occupants[index]) == 0); }
  // A copy of the one that is there; its index.
  std::size_t fork() {
    Occupant& parent = space.occupant();
    const std::uint64_t stops = memory.stops;
    REQUIRE(space.fork(add()) == 0);
    CHECK(memory.stops > stops); // nobody stores while it is copied
    CHECK(&space.occupant() == occupants.back().get());
    REQUIRE(space.enter(parent) == 0);
    return occupants.size() - 1;
  }
  void leave(Occupant& occupant) { space.remove(occupant, space.occupant()); }
  void end(std::size_t index) {
    leave(*occupants[index]);
    occupants[index].reset();
  }
  std::uint64_t map(std::uint64_t pages, Protection protection = read_write,
                    Commitment commitment = Commitment::normal, const Content& content = {}) {
    const auto made = space.map(pages * page, protection, commitment, 0, content);
    REQUIRE(made.has_value());
    return *made;
  }
  static unsigned char& byte(std::uint64_t address) {
    return *reinterpret_cast<unsigned char*>(address); // NOLINT
  }

  // At the start of RAM, with frames that are nobody's.
  static constexpr std::uint64_t window = HostedMemory::ram_start;
  static constexpr std::uint64_t window_bytes = 2 * abi::huge_page_bytes;
  static AddressZones with_window(HostedMemory& memory) {
    REQUIRE(memory.claim(abi::to_pfn({window}), window_bytes / page));
    memory.tables().detach(window, window + window_bytes);
    AddressZones zones = memory.zones();
    zones.window = {window, window + window_bytes};
    return zones;
  }

  HostedMemory memory{ram_bytes};
  NoFiles files;
  AreaList areas;
  AddressSpace space{memory, memory.tables(), areas, files, with_window(memory)};
  std::vector<std::unique_ptr<Occupant>> occupants;
};

TEST_CASE("each of two has what it has written, in RAM and above it") {
  Programs all;
  const std::uint64_t low = all.map(3);
  const std::uint64_t high = all.map(3, read_write, Commitment::none);
  REQUIRE(low < all.memory.ram_end());
  REQUIRE(high >= all.memory.ram_end());
  for (const std::uint64_t at : {low, high}) {
    all.byte(at) = 1;
  }
  const std::size_t child = all.fork();
  for (const std::uint64_t at : {low, high}) {
    all.byte(at) = 2;
    all.byte(at + page) = 3; // nobody had touched it
  }
  all.enter(child);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.byte(at) == 1);
    CHECK(all.byte(at + page) == 0);
    all.byte(at) = 4;
    all.byte(at + 2 * page) = 5;
  }
  all.enter(0);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.byte(at) == 2);
    CHECK(all.byte(at + page) == 3);
    CHECK(all.byte(at + 2 * page) == 0);
  }
  all.enter(child);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.byte(at) == 4);
    CHECK(all.byte(at + 2 * page) == 5);
  }
}

TEST_CASE("three generations, entered in any order, keep what is theirs") {
  Programs all;
  const std::uint64_t low = all.map(2);
  const std::uint64_t high = all.map(2, read_write, Commitment::none);
  all.byte(low) = all.byte(high) = 10;
  const std::size_t child = all.fork();
  all.enter(child);
  all.byte(low) = all.byte(high) = 11;
  const std::size_t grandchild = all.fork();
  all.enter(0);
  const std::size_t second = all.fork();
  all.byte(low + page) = 12;
  const auto check = [&](std::size_t who, unsigned char value) {
    CAPTURE(who);
    all.enter(who);
    CHECK(all.byte(low) == value);
    CHECK(all.byte(high) == value);
    ++all.byte(low);
    ++all.byte(high);
  };
  for (unsigned char round = 0; round < 3; ++round) {
    const auto by = [round](int value) { return static_cast<unsigned char>(value + round); };
    check(grandchild, by(11));
    check(0, by(10));
    check(second, by(10));
    check(child, by(11));
  }
}

TEST_CASE("what one gives up the others keep, and goes back with the last") {
  Programs all;
  const std::uint64_t before = all.memory.frames_in_use();
  const std::uint64_t low = all.map(4);
  const std::uint64_t high = all.map(4, read_write, Commitment::none);
  std::memset(&all.byte(low), 7, 4 * page);
  std::memset(&all.byte(high), 8, 4 * page);
  const std::size_t child = all.fork();
  CHECK(all.space.unmap(low, 2 * page) == 0);
  CHECK(all.space.unmap(high, 2 * page) == 0);
  CHECK(!all.space.allows(low, page, PROT_READ));
  // Nobody else gets these addresses meanwhile.
  CHECK(all.space.map_at(high, page, read_write).error() == ENOMEM);
  CHECK(all.space.map_at(low, page, read_write).error() == ENOMEM);
  const std::uint64_t other = all.map(2);
  CHECK((other + 2 * page <= low || other >= low + 2 * page));
  all.enter(child);
  for (std::uint64_t at = 0; at < 4 * page; at += page) {
    CHECK(all.byte(low + at) == 7);
    CHECK(all.byte(high + at) == 8);
  }
  all.end(child); // goes to nobody
  all.enter(0);
  CHECK(all.byte(low + 2 * page) == 7);
  CHECK(all.byte(high + 3 * page) == 8);
  CHECK(all.space.occupant().family == nullptr);
  CHECK(all.space.unmap(low, 4 * page) == 0);
  CHECK(all.space.unmap(high, 4 * page) == 0);
  CHECK(all.space.unmap(other, 2 * page) == 0);
  CHECK(all.memory.frames_in_use() == before);
  CHECK(all.space.map_at(high, page, read_write).has_value());
}

TEST_CASE("what all have given up is for anybody, and stays with who has it then") {
  Programs all;
  const std::uint64_t low = all.map(4);
  const std::uint64_t high = all.map(4, read_write, Commitment::none);
  const std::size_t child = all.fork();
  for (const std::size_t who : {std::size_t{0}, child}) {
    all.enter(who);
    CHECK(all.space.unmap(low, 2 * page) == 0);
    CHECK(all.space.unmap(high, 2 * page) == 0);
  }
  all.add();
  const std::size_t other = all.occupants.size() - 1;
  all.enter(other);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.space.map_at(at, page, read_write) == at);
    all.byte(at) = 9;
    CHECK(all.space.map_at(at + 2 * page, page, read_write).error() == ENOMEM);
  }
  for (const std::size_t who : {std::size_t{0}, child, std::size_t{0}}) {
    all.enter(who);
    CHECK(!all.space.allows(low, page, PROT_READ));
    all.byte(low + 2 * page) = static_cast<unsigned char>(who);
  }
  all.enter(other);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.space.allows(at, page, read_write));
    CHECK(all.byte(at) == 9);
  }
}

TEST_CASE("the one that was forked from may end first") {
  Programs all;
  const std::uint64_t low = all.map(2);
  const std::uint64_t high = all.map(2, read_write, Commitment::none);
  all.byte(low) = all.byte(high) = 1;
  const std::size_t child = all.fork();
  all.byte(low) = all.byte(high) = 2;
  Occupant& fresh = all.add();
  REQUIRE(all.space.enter(fresh) == 0);
  all.end(0);
  CHECK(all.space.allows(low, page, PROT_READ) == false);
  all.enter(child);
  CHECK(all.byte(low) == 1);
  CHECK(all.byte(high) == 1);
}

TEST_CASE("rights are each one's own") {
  Programs all;
  const std::uint64_t low = all.map(2);
  const std::uint64_t high = all.map(2, read_write, Commitment::none);
  all.byte(low) = all.byte(high) = 1;
  REQUIRE(all.space.protect(low + page, page, protection_none) == 0);
  const std::size_t child = all.fork();
  REQUIRE(all.space.protect(low, page, PROT_READ) == 0);
  REQUIRE(all.space.protect(high, page, PROT_READ) == 0);
  const auto may_write = [&](std::uint64_t at) {
    const auto meaning = all.memory.walk(at);
    return meaning && meaning->writable;
  };
  CHECK(!may_write(low));
  CHECK(!may_write(high));
  CHECK(!all.memory.walk(low + page));
  all.enter(child);
  CHECK(may_write(low));
  CHECK(may_write(high));
  CHECK(!all.memory.walk(low + page));
  all.byte(low) = all.byte(high) = 2;
  all.enter(0);
  CHECK(!may_write(low));
  CHECK(!may_write(high));
  CHECK(all.byte(low) == 1);
}

TEST_CASE("a file that only one who is not there shows is not forgotten") {
  Programs all;
  const std::uint64_t high = all.map(2, PROT_READ, Commitment::none, {.file = 3});
  CHECK(all.byte(high) == 3);
  const std::size_t child = all.fork();
  CHECK(all.space.unmap(high, 2 * page) == 0);
  CHECK(all.files.forgotten.empty());
  all.enter(child);
  CHECK(all.byte(high + page) == 3);
  CHECK(all.space.unmap(high, 2 * page) == 0);
  CHECK(all.files.forgotten == std::vector<std::uint32_t>{3});
}

TEST_CASE("without memory for a copy there is none, and nothing has changed") {
  Programs all;
  const std::uint64_t low = all.map(ram_bytes / page / 2 / 64);
  std::vector<std::uint64_t> taken;
  while (all.memory.free_count() > 20) {
    const auto more = all.space.map(16 * page, read_write);
    if (!more) {
      break;
    }
    taken.push_back(*more);
  }
  const std::uint64_t frames = all.memory.frames_in_use();
  Occupant& child = all.add();
  CHECK(all.space.fork(child) == ENOMEM);
  CHECK(all.memory.frames_in_use() == frames);
  CHECK(all.space.occupant().family == nullptr);
  CHECK(child.kept_areas.empty());
  all.byte(low) = 1;
}

TEST_CASE("programs that are linked to the same addresses have them one at a time") {
  Programs all;
  const std::uint64_t frames = all.memory.frames_in_use();
  all.add();
  all.add(); // has nothing there
  const std::uint64_t code = Programs::window + 16 * page;
  for (const std::size_t who : {std::size_t{0}, std::size_t{1}}) {
    all.enter(who);
    REQUIRE(all.space.map_at(code, 2 * page, read_write) == code);
    CHECK(all.byte(code) == 0);
    all.byte(code) = static_cast<unsigned char>(10 + who);
  }
  // Rights, and what is mapped at all, are each one's own, too.
  REQUIRE(all.space.protect(code, page, PROT_READ) == 0);
  CHECK(all.space.map_at(code + 4 * page, page, read_write) == code + 4 * page);
  for (int round = 0; round < 3; ++round) {
    all.enter(0);
    CHECK(all.byte(code) == 10);
    CHECK(all.space.allows(code, page, read_write));
    CHECK(!all.space.allows(code + 4 * page, page, PROT_READ));
    CHECK(all.memory.walk(code)->writable);
    all.enter(2);
    CHECK(!all.space.allows(code, page, PROT_READ));
    all.enter(1);
    CHECK(all.byte(code) == 11);
    CHECK(!all.memory.walk(code)->writable);
    CHECK(all.space.allows(code + 4 * page, page, read_write));
  }
  all.enter(2);
  all.end(1);
  all.enter(0);
  CHECK(all.byte(code) == 10);
  all.enter(2);
  all.end(0);
  CHECK(all.memory.frames_in_use() == frames);
}

TEST_CASE("a program in the window is forked with what it has there") {
  Programs all;
  const std::uint64_t code = Programs::window + 16 * page;
  const std::uint64_t frames = all.memory.frames_in_use();
  REQUIRE(all.space.map_at(code, 3 * page, read_write) == code);
  all.byte(code) = 1;
  const std::size_t child = all.fork();
  all.byte(code) = 2;
  all.byte(code + page) = 3;
  all.enter(child);
  CHECK(all.byte(code) == 1);
  CHECK(all.byte(code + page) == 0);
  all.byte(code) = 4;
  all.enter(0);
  CHECK(all.byte(code) == 2);
  CHECK(all.byte(code + page) == 3);
  all.enter(child);
  CHECK(all.byte(code) == 4);
  Occupant& fresh = all.add();
  REQUIRE(all.space.enter(fresh) == 0);
  all.end(child);
  all.end(0);
  CHECK(all.memory.frames_in_use() == frames);
}

TEST_CASE("nothing in the window shows a file's own pages, nor is chosen without being asked for") {
  Programs all;
  const Content shared{.file = 1, .sharing = Content::Sharing::shared};
  CHECK(all.space.map_at(Programs::window, page, PROT_READ, shared).error() == ENOMEM);
  for (int count = 0; count < 200; ++count) {
    CHECK(all.map(1) >= Programs::window + Programs::window_bytes);
  }
}

TEST_CASE("what another program has is nothing to this one, and cannot be taken from it") {
  Programs all;
  const std::uint64_t low = all.map(2);
  const std::uint64_t high = all.map(2, read_write, Commitment::none);
  all.byte(low) = all.byte(high) = 1;
  all.add();
  all.enter(1);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.space.resolve(at, Access::read) == Resolution::unmapped);
    CHECK(!all.space.allows(at, page, protection_none));
    CHECK(all.space.protect(at, page, PROT_READ) == ENOMEM);
    CHECK(all.space.discard(at, page) == ENOMEM);
    CHECK(all.space.populate(at, page) == ENOMEM);
    CHECK(all.space.remap(at, page, 2 * page, AddressSpace::Move::yes).error() == EFAULT);
    CHECK(all.space.map_at(at, page, read_write).error() == ENOMEM);
    CHECK(all.space.map_free(at, page, read_write).error() == ENOMEM);
    CHECK(all.space.unmap(at, 2 * page) == 0); // there is nothing
  }
  CHECK(all.space.place_of(high, page).error() == EFAULT);
  CHECK(all.space.mapped_bytes() == 0);
  all.space.unmap_all();
  all.enter(0);
  for (const std::uint64_t at : {low, high}) {
    CHECK(all.byte(at) == 1);
    CHECK(all.space.allows(at, 2 * page, read_write));
  }
}

} // namespace
