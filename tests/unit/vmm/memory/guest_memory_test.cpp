// SPDX-License-Identifier: MIT
#include "vmm/memory/guest_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <utility>

#include <doctest/doctest.h>

using abi::Gpa;
using vmm::Backing;
using vmm::GuestMemory;

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;
constexpr std::uint64_t huge_number = std::numeric_limits<std::uint64_t>::max();

struct Pair {
  std::uint64_t first;
  std::uint32_t second;
};

} // namespace

TEST_CASE("guest memory of every backing reads as zero, keeps what is written, is aligned") {
  for (const Backing backing :
       {Backing::thp, Backing::small_pages, Backing::memfd, Backing::hugetlb}) {
    CAPTURE(vmm::name_of(backing));
    auto memory = GuestMemory::create(8 * mib, backing);
    if (!memory && backing == Backing::hugetlb) {
      MESSAGE("skipped hugetlb: ", memory.error().message);
      continue;
    }
    REQUIRE(memory);
    CHECK(memory->size_bytes() == 8 * mib);
    CHECK(memory->backing() == backing);
    CHECK(reinterpret_cast<std::uintptr_t>(memory->base()) % gib == 0);
    CHECK((memory->fd() >= 0) == (backing == Backing::memfd || backing == Backing::hugetlb));
    for (const std::uint64_t gpa : {std::uint64_t{0}, 8 * mib - 1}) {
      const auto byte = memory->at(Gpa{gpa}, 1);
      REQUIRE(byte.size() == 1);
      CHECK(byte[0] == std::byte{0});
      byte[0] = std::byte{7};
      CHECK(memory->base()[gpa] == std::byte{7});
    }
  }
}

TEST_CASE("access is bounded by RAM, and no sum overflows") {
  const auto memory = GuestMemory::create(2 * mib, Backing::small_pages);
  REQUIRE(memory);
  CHECK(memory->at(Gpa{0}, 2 * mib).size() == 2 * mib);
  CHECK(memory->at(Gpa{2 * mib - 1}, 1).size() == 1);
  CHECK(memory->at(Gpa{0}, 2 * mib + 1).empty());
  CHECK(memory->at(Gpa{1}, 2 * mib).empty());
  CHECK(memory->at(Gpa{2 * mib}, 1).empty());
  CHECK(memory->at(Gpa{0}, 0).empty());
  CHECK(memory->at(Gpa{2 * mib}, 0).empty());
  CHECK(memory->at(Gpa{huge_number}, 1).empty());
  CHECK(memory->at(Gpa{huge_number}, 2).empty());
  CHECK(memory->at(Gpa{1}, huge_number).empty());
  CHECK(memory->at(Gpa{huge_number}, huge_number).empty());
}

TEST_CASE("typed access also checks alignment") {
  const auto memory = GuestMemory::create(2 * mib, Backing::small_pages);
  REQUIRE(memory);
  CHECK(memory->object_at<Pair>(Gpa{0}) != nullptr);
  CHECK(memory->object_at<Pair>(Gpa{2 * mib - sizeof(Pair)}) != nullptr);
  CHECK(memory->object_at<Pair>(Gpa{2 * mib - sizeof(Pair) + 8}) == nullptr);
  CHECK(memory->object_at<Pair>(Gpa{4}) == nullptr);
  CHECK(memory->object_at<std::uint32_t>(Gpa{4}) != nullptr);
  CHECK(memory->object_at<std::uint8_t>(Gpa{2 * mib - 1}) != nullptr);
  CHECK(memory->object_at<std::uint8_t>(Gpa{huge_number}) == nullptr);
}

TEST_CASE("sizes that cannot be are refused as the user's mistake") {
  for (const auto& [size_bytes, backing] :
       {std::pair{std::uint64_t{0}, Backing::thp}, std::pair{4097 * mib + 1, Backing::thp},
        std::pair{vmm::max_guest_memory_bytes + abi::page_bytes, Backing::memfd},
        std::pair{3 * mib, Backing::hugetlb}, std::pair{huge_number, Backing::small_pages}}) {
    CAPTURE(size_bytes);
    const auto memory = GuestMemory::create(size_bytes, backing);
    REQUIRE_FALSE(memory);
    CHECK(memory.error().error_class == vmm::ErrorClass::user);
  }
}

TEST_CASE("the largest guest is only reserved, and two of them fit side by side") {
  const auto one = GuestMemory::create(vmm::max_guest_memory_bytes, Backing::small_pages);
  const auto two = GuestMemory::create(vmm::max_guest_memory_bytes, Backing::memfd);
  REQUIRE(one);
  REQUIRE(two);
  CHECK(one->base() != two->base());
  one->base()[vmm::max_guest_memory_bytes - 1] = std::byte{1};
  two->base()[vmm::max_guest_memory_bytes - 1] = std::byte{2};
  CHECK(one->base()[vmm::max_guest_memory_bytes - 1] == std::byte{1});
}

TEST_CASE("huge pages that the host does not have are asked for by number") {
  // 256 GiB of huge pages: more than a machine that runs unit tests sets aside.
  const auto memory = GuestMemory::create(vmm::max_guest_memory_bytes, Backing::hugetlb);
  if (memory) {
    MESSAGE("skipped: the host has 256 GiB of huge pages");
    return;
  }
  CHECK(memory.error().error_class == vmm::ErrorClass::environment);
  CHECK(memory.error().message.find("131072") != std::string::npos);
  CHECK(memory.error().message.find("nr_hugepages") != std::string::npos);
}

TEST_CASE("the length of a memory file is sealed, holes in it are not") {
  const auto memory = GuestMemory::create(4 * mib, Backing::memfd);
  REQUIRE(memory);
  CHECK(::ftruncate(memory->fd(), 1) != 0);
  CHECK(::ftruncate(memory->fd(), 8 * mib) != 0);
  CHECK(::fallocate(memory->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
}

TEST_CASE("the small-page prefix grows, and only within RAM") {
  for (const Backing backing : {Backing::thp, Backing::small_pages, Backing::memfd}) {
    CAPTURE(vmm::name_of(backing));
    auto memory = GuestMemory::create(8 * mib, backing);
    REQUIRE(memory);
    CHECK(memory->set_small_page_prefix(Gpa{0}));
    CHECK(memory->set_small_page_prefix(Gpa{2 * mib + 1}));
    CHECK(memory->set_small_page_prefix(Gpa{1 * mib}));
    CHECK(memory->set_small_page_prefix(Gpa{8 * mib}));
    CHECK_FALSE(memory->set_small_page_prefix(Gpa{8 * mib + 1}));
    CHECK_FALSE(memory->set_small_page_prefix(Gpa{huge_number}));
  }
}

TEST_CASE("guest memory can be moved") {
  auto first = GuestMemory::create(2 * mib, Backing::memfd);
  REQUIRE(first);
  first->base()[5] = std::byte{9};
  std::byte* const base = first->base();
  const GuestMemory second = std::move(*first);
  CHECK(second.base() == base);
  CHECK(second.size_bytes() == 2 * mib);
  CHECK(second.base()[5] == std::byte{9});
}

TEST_CASE("guest memory: a hole is neither RAM nor in the way of what lies above") {
  for (const Backing backing : {Backing::thp, Backing::memfd}) {
    const auto memory = GuestMemory::create(5 * gib, backing, vmm::interrupt_hole);
    REQUIRE(memory.has_value());
    CHECK(memory->size_bytes() == 5 * gib);
    CHECK(memory->end().value == 6 * gib);
    CHECK(memory->at({3 * gib - 1}, 1).size() == 1);
    CHECK(memory->at({3 * gib - 1}, 2).empty());
    CHECK(memory->at({3 * gib}, 1).empty());
    CHECK(memory->at({4 * gib - 1}, 2).empty());
    CHECK(memory->at({4 * gib}, 1).size() == 1);
    CHECK(memory->at({6 * gib - 1}, 1).size() == 1);
    CHECK(memory->at({6 * gib - 1}, 2).empty());
    CHECK(memory->at({2 * gib}, 3 * gib).empty());
  }
}

TEST_CASE("guest memory: RAM that does not reach the hole has none") {
  const auto memory = GuestMemory::create(vmm::interrupt_hole.start.value, Backing::small_pages,
                                          vmm::interrupt_hole);
  REQUIRE(memory.has_value());
  CHECK(memory->hole().bytes() == 0);
  CHECK(memory->end() == vmm::interrupt_hole.start);
}
