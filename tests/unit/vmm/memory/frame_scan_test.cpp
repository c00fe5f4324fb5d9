// SPDX-License-Identifier: MIT
#include "vmm/memory/frame_scan.hpp"

#include <cstring>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t page = abi::page_bytes;

using Found = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

struct Region { // struct page_region
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t categories = 0;
};

// Answers as a kernel does in which every other page is resident, at most two regions a call, and
// says to have walked only so far as the last-but-one region went.
int forgetful_kernel(PageScan& request) {
  // Justified: the request carries the address of the result as a number.
  auto* const regions = reinterpret_cast<Region*>(request.regions);
  int count = 0;
  request.walk_end = request.end;
  for (std::uint64_t at = abi::align_up(request.start, 2 * page); at < request.end;
       at += 2 * page) {
    if (count == 2) {
      request.walk_end = regions[0].end;
      break;
    }
    regions[count++] = {at, at + page};
  }
  return count;
}

struct Watcher final : FrameWatcher {
  bool pass_begins(std::uint64_t now_ns, Occasion /*occasion*/) override {
    last_ns = now_ns;
    return wanting;
  }
  void resident(abi::Gpa start, std::uint64_t bytes) override {
    found.emplace_back(start.value, bytes);
  }
  void pass_ends(Ended how) override {
    ++ended;
    complete = how == Ended::complete;
  }
  bool wanting = true;
  std::uint64_t last_ns = 0;
  unsigned ended = 0;
  bool complete = false;
  Found found;
};

} // namespace

TEST_CASE("a kernel that forgets how far it walked makes nobody see memory twice") {
  FrameScan scan(nullptr, 8 * page, forgetful_kernel);
  Watcher watcher;
  scan.subscribe(watcher);
  CHECK(scan.pass(7, Occasion::routine) == 4 * page);
  CHECK(watcher.found == Found{{0, page}, {2 * page, page}, {4 * page, page}, {6 * page, page}});
  CHECK(watcher.last_ns == 7);
  CHECK(watcher.complete);
}

TEST_CASE("a kernel that makes no progress ends the pass instead of holding it up") {
  unsigned calls = 0;
  FrameScan scan(nullptr, 8 * page, [&calls](PageScan& request) {
    request.walk_end = request.start;
    REQUIRE(++calls < 10);
    return 0;
  });
  Watcher watcher;
  scan.subscribe(watcher);
  CHECK_FALSE(scan.pass(0, Occasion::routine));
  CHECK(watcher.ended == 1);
  CHECK_FALSE(watcher.complete);
}

TEST_CASE("all watchers see one walk, and only those that want it") {
  unsigned calls = 0;
  FrameScan scan(nullptr, 8 * page, [&calls](PageScan& request) {
    ++calls;
    request.walk_end = request.end;
    return 0;
  });
  Watcher one;
  Watcher two;
  Watcher none;
  none.wanting = false;
  scan.subscribe(one);
  scan.subscribe(none);
  scan.subscribe(two);
  CHECK(scan.pass(0, Occasion::mark) == 0);
  CHECK(calls == 1);
  CHECK(one.ended == 1);
  CHECK(two.ended == 1);
  CHECK(none.ended == 0);
  one.wanting = false;
  two.wanting = false;
  CHECK(scan.pass_for_watchers(0, Occasion::mark));
  CHECK(calls == 1);
}

TEST_CASE("the real tables: what was touched, in parts as small as asked for") {
  const auto memory = GuestMemory::create(64 * mib, Backing::small_pages);
  REQUIRE(memory);
  auto scan = FrameScan::create(*memory);
  if (!scan) {
    MESSAGE("skipped: ", scan.error().message);
    return;
  }
  std::memset(memory->base() + 16 * mib, 1, 4 * page);
  Found found;
  const auto note = [&found](abi::Gpa start, std::uint64_t bytes) {
    found.emplace_back(start.value, bytes);
  };
  CHECK(scan->each({16 * mib + page}, 2 * page, note));
  CHECK(found == Found{{16 * mib + page, 2 * page}});
  found.clear();
  // More separate regions than one call returns.
  for (std::uint64_t gpa = 0; gpa < 64 * mib; gpa += 2 * page) {
    std::memset(memory->base() + gpa, 1, 1);
  }
  CHECK(scan->pass(0, Occasion::routine) == 32 * mib + 2 * page);
  CHECK(scan->each({0}, 64 * mib, note));
  for (std::size_t index = 1; index < found.size(); ++index) {
    REQUIRE(found[index].first >= found[index - 1].first + found[index - 1].second);
  }
}
