// SPDX-License-Identifier: MIT
#include "vmm/memory/resident_meter.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t page = abi::page_bytes;

void touch(const GuestMemory& memory, std::uint64_t from, std::uint64_t bytes) {
  std::memset(memory.base() + from, 1, bytes);
}

// Of one memory.
struct Meters {
  std::unique_ptr<FrameScan> scan; // null where the kernel has none
  std::vector<ResidentMeter> meters;

  auto begin() { return meters.begin(); }
  auto end() { return meters.end(); }
};

// All of this process, which nothing but the test changes by much (proc(5), statm).
std::uint64_t process_resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  REQUIRE(resident != 0);
  return resident * page;
}

Result<std::uint64_t> sample(ResidentMeter& meter) {
  return meter.sample(0, Occasion::routine);
}

Meters anonymous_meters(const GuestMemory& memory) {
  Meters meters;
  if (auto scan = FrameScan::create(memory)) {
    meters.scan = std::make_unique<FrameScan>(std::move(*scan));
  }
  for (const ResidentMethod method : {ResidentMethod::page_scan, ResidentMethod::smaps}) {
    auto meter = ResidentMeter::create(memory, meters.scan.get(), method);
    if (!meter) {
      MESSAGE("skipped a method: ", meter.error().message);
      continue;
    }
    meters.meters.push_back(std::move(*meter));
  }
  REQUIRE_FALSE(meters.meters.empty());
  return meters;
}

} // namespace

TEST_CASE("small pages: resident is what was touched and not discarded") {
  const auto memory = GuestMemory::create(64 * mib, Backing::small_pages);
  REQUIRE(memory);
  auto meters = anonymous_meters(*memory);
  const auto expect = [&](std::uint64_t bytes) {
    for (ResidentMeter& meter : meters) {
      CAPTURE(static_cast<int>(meter.method()));
      const auto now = sample(meter);
      REQUIRE(now);
      CHECK(*now == bytes);
    }
  };
  expect(0);
  touch(*memory, 0, 1);
  touch(*memory, 64 * mib - 1, 1);
  expect(2 * page);
  touch(*memory, 0, 64 * mib);
  expect(64 * mib);
  CHECK(::madvise(memory->base() + 8 * mib, 16 * mib, MADV_DONTNEED) == 0);
  expect(48 * mib);
  // More separate regions than one system call returns.
  for (std::uint64_t gpa = 24 * mib; gpa < 64 * mib; gpa += 2 * page) {
    CHECK(::madvise(memory->base() + gpa, page, MADV_DONTNEED) == 0);
  }
  expect(28 * mib);
}

TEST_CASE("memory that was only read is resident if this kernel has no shared zero page for it") {
  for (const Backing backing : {Backing::small_pages, Backing::thp}) {
    const auto memory = GuestMemory::create(16 * mib, backing);
    REQUIRE(memory);
    auto meters = anonymous_meters(*memory);
    const std::uint64_t before = process_resident_bytes();
    std::byte sum{0};
    for (std::uint64_t gpa = 0; gpa < 16 * mib; gpa += page) {
      sum |= *static_cast<volatile std::byte*>(memory->base() + gpa);
    }
    CHECK(sum == std::byte{0});
    // Some kernels are without one. Half: the count of the process lags behind by some pages.
    const bool shared = process_resident_bytes() - before < 8 * mib;
    for (ResidentMeter& meter : meters) {
      CHECK(sample(meter) == (shared ? 0 : 16 * mib));
    }
  }
}

TEST_CASE("huge pages: whole, partly discarded, and split by the small-page prefix") {
  auto memory = GuestMemory::create(32 * mib, Backing::thp);
  REQUIRE(memory);
  REQUIRE(memory->set_small_page_prefix(abi::Gpa{2 * mib}));
  auto meters = anonymous_meters(*memory);
  const auto expect = [&](std::uint64_t bytes) {
    for (ResidentMeter& meter : meters) {
      CAPTURE(static_cast<int>(meter.method()));
      CHECK(sample(meter) == bytes);
    }
  };
  touch(*memory, 0, page);
  expect(page);
  touch(*memory, 0, 32 * mib);
  expect(32 * mib);
  CHECK(::madvise(memory->base() + 4 * mib, 2 * mib, MADV_DONTNEED) == 0);
  expect(30 * mib);
  CHECK(::madvise(memory->base() + 8 * mib, page, MADV_DONTNEED) == 0);
  expect(30 * mib - page);
  REQUIRE(memory->set_small_page_prefix(abi::Gpa{16 * mib}));
  expect(30 * mib - page);
}

TEST_CASE("two guests are told apart") {
  const auto one = GuestMemory::create(4 * mib, Backing::small_pages);
  const auto two = GuestMemory::create(4 * mib, Backing::small_pages);
  REQUIRE(one);
  REQUIRE(two);
  touch(*one, 0, 3 * page);
  touch(*two, 0, 5 * page);
  Meters first = anonymous_meters(*one);
  for (ResidentMeter& meter : first) {
    CHECK(sample(meter) == 3 * page);
  }
  Meters second = anonymous_meters(*two);
  for (ResidentMeter& meter : second) {
    CHECK(sample(meter) == 5 * page);
  }
}

TEST_CASE("memory files: allocated blocks, whatever is mapped") {
  for (const Backing backing : {Backing::memfd, Backing::hugetlb}) {
    CAPTURE(vmm::name_of(backing));
    const auto memory = GuestMemory::create(16 * mib, backing);
    if (!memory && backing == Backing::hugetlb) {
      MESSAGE("skipped hugetlb: ", memory.error().message);
      continue;
    }
    REQUIRE(memory);
    auto meter = ResidentMeter::create(*memory, nullptr);
    REQUIRE(meter);
    CHECK(meter->method() == ResidentMethod::file_blocks);
    CHECK(sample(*meter) == 0);
    touch(*memory, 4 * mib, 8 * mib);
    CHECK(sample(*meter) == 8 * mib);
    CHECK(::fallocate(memory->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * mib, 2 * mib) ==
          0);
    CHECK(sample(*meter) == 6 * mib);
  }
}

TEST_CASE("a method that does not fit the backing is refused") {
  const auto anonymous = GuestMemory::create(4 * mib, Backing::small_pages);
  const auto file = GuestMemory::create(4 * mib, Backing::memfd);
  REQUIRE(anonymous);
  REQUIRE(file);
  CHECK_FALSE(ResidentMeter::create(*anonymous, nullptr, ResidentMethod::file_blocks));
  CHECK_FALSE(ResidentMeter::create(*file, nullptr, ResidentMethod::smaps));
  CHECK_FALSE(ResidentMeter::create(*file, nullptr, ResidentMethod::page_scan));
}
