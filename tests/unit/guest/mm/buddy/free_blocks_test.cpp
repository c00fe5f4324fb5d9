// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/free_blocks.hpp"

#include <map>
#include <random>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace guest::mm;
using abi::Order;
using abi::Pfn;

namespace {

constexpr Pfn base{3U << abi::max_order};
constexpr std::uint64_t frames = 5U << abi::max_order;

struct Fixture {
  std::vector<std::uint64_t> words = std::vector<std::uint64_t>(FreeBlocks::words_needed(frames));
  FreeBlocks free{words, base, frames};
};

} // namespace

TEST_CASE("free blocks: a block is removed once, and says which it was") {
  for (const Freshness block : {Freshness::answered, Freshness::fresh}) {
    for (const Freshness before : {Freshness::answered, Freshness::fresh}) {
      Fixture fixture;
      const Order order{3};
      const std::uint64_t index = fixture.free.index_of(base + 64, order);
      CHECK(index == 8);
      Freshness which = before;
      CHECK_FALSE(fixture.free.remove_if_free(index, order, which));
      CHECK(which == before);
      fixture.free.add(base + 64, order, block);
      CHECK(fixture.free.count(order) == 1);
      CHECK_FALSE(fixture.free.remove_if_free(index ^ 1, order, which));
      CHECK_FALSE(fixture.free.remove_if_free(index, {2}, which));
      CHECK(fixture.free.remove_if_free(index, order, which));
      CHECK(which == std::max(before, block));
      CHECK(fixture.free.count(order) == 0);
      CHECK(fixture.free.orders_with(block, {0}) == 0);
      CHECK_FALSE(fixture.free.remove_if_free(index, order, which));
    }
  }
}

TEST_CASE("free blocks: at both ends of memory, of every order") {
  Fixture fixture;
  for (const Freshness which : {Freshness::answered, Freshness::fresh}) {
    for (Order order{0}; order.value <= abi::max_order; ++order.value) {
      const Pfn last = base + (frames - order.frames());
      fixture.free.add(base, order, which);
      fixture.free.add(last, order, which);
      CHECK(fixture.free.lowest(order, which) == base);
      CHECK(fixture.free.highest(order, which) == last);
      CHECK(fixture.free.orders_with(which, order) == 1U << order.value);
      fixture.free.remove(base, order, which);
      CHECK(fixture.free.lowest(order, which) == last);
      fixture.free.remove(last, order, which);
      CHECK_FALSE(fixture.free.highest(order, which));
      CHECK(fixture.free.orders_with(which, {0}) == 0);
    }
  }
}

TEST_CASE("free blocks: as many, the same, and in order, after many changes") {
  Fixture fixture;
  std::map<std::pair<unsigned, std::uint64_t>, Freshness> model; // (order, frame) of free blocks
  std::mt19937_64 random(7);
  for (int change = 0; change < 20'000; ++change) {
    const Order order{static_cast<std::uint8_t>(random() % abi::order_count)};
    const Pfn block{base.value + (random() % (frames >> order.value) << order.value)};
    const auto key = std::pair(unsigned{order.value}, block.value);
    const auto which = static_cast<Freshness>(random() % 2);
    if (const auto found = model.find(key); found == model.end()) {
      fixture.free.add(block, order, which);
      model.emplace(key, which);
    } else {
      auto joined = Freshness::answered;
      REQUIRE(fixture.free.remove_if_free(fixture.free.index_of(block, order), order, joined));
      REQUIRE(joined == found->second);
      model.erase(found);
    }
    if (change % 500 != 0) {
      continue;
    }
    for (Order list{0}; list.value <= abi::max_order; ++list.value) {
      std::uint64_t count = 0;
      for (const Freshness set : {Freshness::answered, Freshness::fresh}) {
        std::vector<std::uint64_t> seen;
        fixture.free.for_each(list, set, [&](Pfn pfn) { seen.push_back(pfn.value); });
        std::vector<std::uint64_t> expected;
        for (const auto& [at, freshness] : model) {
          if (at.first == list.value && freshness == set) {
            expected.push_back(at.second);
          }
        }
        REQUIRE(seen == expected);
        REQUIRE(((fixture.free.orders_with(set, list) >> list.value) & 1U) == !seen.empty());
        count += seen.size();
      }
      REQUIRE(fixture.free.count(list) == count);
    }
  }
}
