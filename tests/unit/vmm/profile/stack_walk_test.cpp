// SPDX-License-Identifier: MIT
#include "vmm/profile/stack_walk.hpp"

#include <map>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

// A stack that has only these words.
StackReader of(const std::map<std::uint64_t, TwoWords>& words) {
  return [&words](std::uint64_t address) {
    const auto found = words.find(address);
    return found == words.end() ? std::nullopt : std::optional(found->second);
  };
}

using Addresses = std::vector<std::uint64_t>;

} // namespace

TEST_CASE("stack walk: callers by their return addresses, to the outermost") {
  const std::map<std::uint64_t, TwoWords> words{
      {0x1000, {0x1040, 0x400105}}, {0x1040, {0x1100, 0x400205}}, {0x1100, {0, 0x400305}}};
  CHECK(walk_stack({0x400010, 0x1000}, of(words)) ==
        Addresses{0x400010, 0x400104, 0x400204, 0x400304});
  CHECK(walk_stack({0x400010, 0}, of(words)) == Addresses{0x400010}); // the outermost itself
}

TEST_CASE("stack walk: ends at what cannot be a frame") {
  std::map<std::uint64_t, TwoWords> words{{0x1000, {0x1040, 0x400105}},
                                          {0x1040, {0x1100, 0x400205}}};
  const Addresses both{0x400010, 0x400104, 0x400204};
  CHECK(walk_stack({0x400010, 0x1000}, of(words)) == both);                // 0x1100 cannot be read
  CHECK(walk_stack({0x400010, 0x1004}, of(words)) == Addresses{0x400010}); // not aligned
  CHECK(walk_stack({0x400010, ~std::uint64_t{7}}, of(words)) == Addresses{0x400010});
  words[0x1040].first = 0x1040; // itself
  CHECK(walk_stack({0x400010, 0x1000}, of(words)) == both);
  words[0x1040].first = 0x1000; // round and round
  CHECK(walk_stack({0x400010, 0x1000}, of(words)) == both);
  words[0x1040].first = 0x1040 + (std::uint64_t{1} << 40); // another's, or nobody's
  CHECK(walk_stack({0x400010, 0x1000}, of(words)) == both);
  words[0x1040] = {0x1100, 0}; // nobody returns to zero
  CHECK(walk_stack({0x400010, 0x1000}, of(words)) == Addresses{0x400010, 0x400104});
}

TEST_CASE("stack walk: is bounded, however long the chain") {
  std::uint64_t reads = 0;
  const StackReader endless = [&reads](std::uint64_t address) {
    ++reads;
    return std::optional(TwoWords{address + 16, 0x400100});
  };
  CHECK(walk_stack({0x400010, 0x1000}, endless).size() == most_frames);
  CHECK(reads == most_frames - 1);
}
