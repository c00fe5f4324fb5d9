// SPDX-License-Identifier: MIT
// A set of small integers as a 64-ary tree of bitmap words: finds its lowest and highest member in
// one step per level.
//
// Works over zeroed memory that the caller owns and touches only the words on the path of a bit
// that is set, so a huge and sparsely used set costs few pages. A summary word is written only
// when a word below it becomes zero or non-zero. Levels are laid out root first, which keeps all
// the small upper levels of a tree on one page.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace guest::mm {

class BitmapTree {
 public:
  static constexpr std::uint64_t none = ~std::uint64_t{0};
  static constexpr std::uint64_t max_bits = std::uint64_t{1} << 26;

  // Words of memory for a set over [0, bits); bits is 1...max_bits.
  [[nodiscard]] static std::size_t words_needed(std::uint64_t bits);

  BitmapTree() = default;
  // `words` holds words_needed(bits) zero words and outlives the tree.
  BitmapTree(std::span<std::uint64_t> words, std::uint64_t bits);

  [[nodiscard]] bool empty() const { return *level_[level_count_ - 1] == 0; }
  [[nodiscard]] bool test(std::uint64_t bit) const { return test(place_of(bit)); }
  // Inline as far as most go: to the word of the member itself.
  void set(std::uint64_t bit) {
    const Place place = place_of(bit);
    std::uint64_t& word = level_[0][place.word];
    const std::uint64_t before = word;
    word = before | place.mask;
    if (before == 0) { // else the summary above already says so
      set_above(place.word);
    }
  }
  // Returns whether that has made the set empty.
  bool clear(std::uint64_t bit) { return clear(place_of(bit)); }

  // Where the bit of a member is, to ask several sets about one.
  struct Place {
    std::uint64_t word;
    std::uint64_t mask;
  };
  [[nodiscard]] static Place place_of(std::uint64_t bit) {
    return {.word = bit / word_bits, .mask = std::uint64_t{1} << (bit % word_bits)};
  }
  [[nodiscard]] bool test(Place place) const { return (level_[0][place.word] & place.mask) != 0; }
  bool clear(Place place) {
    std::uint64_t& word = level_[0][place.word];
    const std::uint64_t before = word;
    word = before & ~place.mask;
    return word == 0 && before != 0 && clear_above(place.word);
  }

  // The lowest or highest member, or none.
  [[nodiscard]] std::uint64_t find_first() const;
  [[nodiscard]] std::uint64_t find_last() const;
  // The lowest member >= from, or none; from may lie past the end.
  [[nodiscard]] std::uint64_t find_next(std::uint64_t from) const;

 private:
  static constexpr unsigned word_bits = 64;
  static constexpr unsigned max_levels = 5; // 64^5 > max_bits

  // The word of level 0 has become non-zero; or zero: returns whether the root has, too.
  void set_above(std::uint64_t word_index);
  bool clear_above(std::uint64_t word_index);
  [[nodiscard]] std::uint64_t descend_lowest(unsigned level, std::uint64_t word) const;

  std::array<std::uint64_t*, max_levels> level_{}; // level_[0] holds the members
  unsigned level_count_ = 0;
  std::uint64_t bits_ = 0;
};

} // namespace guest::mm
