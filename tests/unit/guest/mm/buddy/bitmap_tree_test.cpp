// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/bitmap_tree.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

using guest::mm::BitmapTree;

namespace {

struct Fixture {
  explicit Fixture(std::uint64_t bits) : words(BitmapTree::words_needed(bits)), tree(words, bits) {}
  std::vector<std::uint64_t> words;
  BitmapTree tree;
};

} // namespace

TEST_CASE("words_needed counts all levels") {
  CHECK(BitmapTree::words_needed(1) == 1);
  CHECK(BitmapTree::words_needed(64) == 1);
  CHECK(BitmapTree::words_needed(65) == 2 + 1);
  CHECK(BitmapTree::words_needed(4096) == 64 + 1);
  CHECK(BitmapTree::words_needed(4097) == 65 + 2 + 1);
  CHECK(BitmapTree::words_needed(BitmapTree::max_bits) == (1U << 20) + (1U << 14) + 256 + 4 + 1);
}

TEST_CASE("bitmap tree agrees with std::set") {
  for (const std::uint64_t bits : {1U, 2U, 63U, 64U, 65U, 127U, 4095U, 4096U, 4097U, 300'000U}) {
    CAPTURE(bits);
    Fixture fixture(bits);
    BitmapTree& tree = fixture.tree;
    std::set<std::uint64_t> model;
    std::mt19937_64 random(bits);
    for (unsigned step = 0; step < 4000; ++step) {
      // Phases of filling and emptying, so that words become zero again.
      const bool fill = (step / 500) % 2 == 0;
      const std::uint64_t bit = fill || model.empty() || random() % 8 == 0
                                    ? random() % bits
                                    : *model.lower_bound(random() % (*model.rbegin() + 1));
      if (random() % 8 < (fill ? 6U : 1U)) {
        tree.set(bit);
        model.insert(bit);
      } else {
        const bool was_member = model.erase(bit) == 1;
        CHECK(tree.clear(bit) == (was_member && model.empty()));
      }
      CHECK(tree.empty() == model.empty());
      CHECK(tree.test(bit) == model.contains(bit));
      CHECK(tree.find_first() == (model.empty() ? BitmapTree::none : *model.begin()));
      CHECK(tree.find_last() == (model.empty() ? BitmapTree::none : *model.rbegin()));
      const std::uint64_t from = random() % (bits + 2);
      const auto next = model.lower_bound(from);
      CHECK(tree.find_next(from) == (next == model.end() ? BitmapTree::none : *next));
    }
    while (!model.empty()) {
      tree.clear(*model.begin());
      model.erase(model.begin());
    }
    CHECK(tree.empty());
    CHECK(std::all_of(fixture.words.begin(), fixture.words.end(),
                      [](std::uint64_t word) { return word == 0; }));
  }
}

TEST_CASE("largest tree: first and last bit, one word per level written") {
  Fixture fixture(BitmapTree::max_bits);
  fixture.tree.set(BitmapTree::max_bits - 1);
  CHECK(fixture.tree.find_first() == BitmapTree::max_bits - 1);
  CHECK(fixture.tree.find_next(BitmapTree::max_bits) == BitmapTree::none);
  CHECK(std::count_if(fixture.words.begin(), fixture.words.end(),
                      [](std::uint64_t word) { return word != 0; }) == 5);
  fixture.tree.set(0);
  CHECK(fixture.tree.find_first() == 0);
  CHECK(fixture.tree.find_last() == BitmapTree::max_bits - 1);
  CHECK(fixture.tree.find_next(1) == BitmapTree::max_bits - 1);
  fixture.tree.clear(1); // not a member
  fixture.tree.clear(0);
  CHECK(fixture.tree.find_first() == BitmapTree::max_bits - 1);
}
