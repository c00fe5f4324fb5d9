// SPDX-License-Identifier: MIT
#include "guest/linux/files/page_tree.hpp"

#include <map>
#include <random>

#include <doctest/doctest.h>

#include "tests/support/counted_pages.hpp"

namespace {
using guest::linux::PageTree;
using test_support::CountedPages;
} // namespace

TEST_CASE("page tree: what is behind the only page is dropped without it") {
  CountedPages pool;
  PageTree tree(pool);
  std::byte* const page = tree.make(0);
  REQUIRE(page != nullptr);
  CHECK(pool.used() == 1); // small files need no nodes
  tree.drop(2, PageTree::most_pages);
  CHECK(tree.find(0) == page);
  tree.drop(0, 0);
  CHECK(tree.find(0) == page);
  tree.drop(0, 1);
  CHECK(tree.find(0) == nullptr);
  CHECK(pool.used() == 0);
}

TEST_CASE("page tree: a page far away takes nodes, which go with it") {
  CountedPages pool;
  PageTree tree(pool);
  REQUIRE(tree.make(0) != nullptr);
  REQUIRE(tree.make(PageTree::most_pages - 1) != nullptr);
  CHECK(tree.pages() == 2);
  CHECK(pool.used() <= 2 + 7);
  CHECK(tree.find(1) == nullptr);
  CHECK(tree.find(PageTree::most_pages - 2) == nullptr);
  tree.drop(1, PageTree::most_pages);
  CHECK(tree.find(0) != nullptr);
  CHECK(tree.pages() == 1);
  tree.drop(0, PageTree::most_pages);
  CHECK(pool.used() == 0);
}

TEST_CASE("page tree: where the pool is empty nothing is lost, and all goes back") {
  CountedPages pool(4);
  {
    PageTree tree(pool);
    std::byte* const first = tree.make(0);
    REQUIRE(first != nullptr);
    CHECK(tree.make(PageTree::most_pages - 1) == nullptr);
    CHECK(tree.find(0) == first);
    CHECK(tree.pages() == 1);
    pool.limit(100);
    CHECK(tree.make(PageTree::most_pages - 1) != nullptr);
    CHECK(tree.find(0) == first);
  }
  CHECK(pool.used() == 0);
}

TEST_CASE("page tree: by chance it is the same as a map of pages") {
  std::mt19937_64 chance(1);
  CountedPages pool;
  PageTree tree(pool);
  std::map<std::uint64_t, std::byte*> model;
  const auto number = [&chance] { return chance() % (std::uint64_t{1} << (chance() % 21)); };
  for (int step = 0; step < 5000; ++step) {
    if (chance() % 4 != 0) {
      const std::uint64_t at = number();
      std::byte* const page = tree.make(at);
      REQUIRE(page != nullptr);
      const auto [entry, added] = model.try_emplace(at, page);
      REQUIRE(entry->second == page);
      REQUIRE((!added || *page == std::byte{0}));
      *page = std::byte{1};
    } else {
      const std::uint64_t first = number();
      const std::uint64_t end = chance() % 3 == 0 ? PageTree::most_pages : first + number();
      tree.drop(first, end);
      model.erase(model.lower_bound(first), model.lower_bound(end));
    }
    REQUIRE(tree.pages() == model.size());
    const std::uint64_t at = number();
    const auto known = model.find(at);
    REQUIRE(tree.find(at) == (known == model.end() ? nullptr : known->second));
  }
  tree.drop(0, PageTree::most_pages);
  CHECK(pool.used() == 0);
}
