// SPDX-License-Identifier: MIT
#include "guest/linux/files/cached_pages.hpp"

#include <doctest/doctest.h>

#include "tests/support/fake_file_host.hpp"

namespace {

using namespace guest::linux;
using test_support::FakePool;

std::pair<std::uint64_t, std::uint64_t> run_of(const CachedPages& pages, PageRange within,
                                               std::uint64_t most = 1000) {
  const PageRange run = pages.first_dirty(within, most);
  return {run.first, run.end};
}
constexpr std::pair<std::uint64_t, std::uint64_t> none{0, 0};

} // namespace

TEST_CASE(
    "cached pages: dirty ones are found in rows, over the ends of chunks, and within a range") {
  FakePool pool;
  CacheUse use;
  CachedPages pages(pool, use);
  for (const std::uint64_t page : {5U, 6U, 7U, 62U, 63U, 64U, 65U, 127U, 128U, 1000U}) {
    REQUIRE(pages.add(page, 1) != nullptr);
    pages.set_dirty(page);
  }
  REQUIRE(pages.add(66, 1) != nullptr); // clean
  CHECK(run_of(pages, all_pages) == std::pair{5UL, 8UL});
  CHECK(run_of(pages, {6, 7}) == std::pair{6UL, 7UL});
  CHECK(run_of(pages, {8, 62}) == none);
  CHECK(run_of(pages, {8, 100}) == std::pair{62UL, 66UL});
  CHECK(run_of(pages, {8, 64}) == std::pair{62UL, 64UL});
  CHECK(run_of(pages, {8, 1000}, 3) == std::pair{62UL, 65UL});
  CHECK(run_of(pages, {66, 2000}) == std::pair{127UL, 129UL});
  CHECK(run_of(pages, {129, PageTree::most_pages}) == std::pair{1000UL, 1001UL});
  CHECK(use.pages == 11);
  CHECK(use.dirty_pages == 10);
  pages.set_clean({0, 1000});
  CHECK(run_of(pages, all_pages) == std::pair{1000UL, 1001UL});
  CHECK(use.dirty_pages == 1);
  pages.drop({1000, 1001});
  CHECK(!pages.is_dirty());
  CHECK(run_of(pages, all_pages) == none);
  CHECK(use.pages == 10);
}

TEST_CASE("cached pages: what was not used for a while goes, but what waits or is held stays") {
  FakePool pool;
  CacheUse use;
  CachedPages pages(pool, use);
  for (std::uint64_t page = 0; page < 4 * CachedPages::chunk_pages; ++page) {
    REQUIRE(pages.add(page, page / CachedPages::chunk_pages) != nullptr); // chunk n at n ns
  }
  pages.set_dirty(3);
  use.held = pages.find(4);
  pages.drop_unused(2);
  CHECK(pool.out.size() == 2 * CachedPages::chunk_pages + 2);
  CHECK(pages.has(3));
  CHECK(pages.has(4));
  CHECK(!pages.has(5));
  CHECK(!pages.has(127));
  CHECK(pages.has(128));
  use.held = nullptr;
  CHECK(pages.find(3, 10) != nullptr); // its chunk is used now
  pages.drop_unused(10);
  CHECK(pool.out.size() == 2);
  pages.drop(all_pages);
  CHECK(pool.out.empty());
  CHECK(use.pages == 0);
  CHECK(use.dirty_pages == 0);
}

TEST_CASE("cached pages: without memory there is no page, and nothing is changed") {
  FakePool pool;
  CacheUse use;
  CachedPages pages(pool, use);
  pool.most = 0;
  CHECK(pages.add(1, 1) == nullptr);
  CHECK(!pages.has(1));
  CHECK(use.pages == 0);
}
