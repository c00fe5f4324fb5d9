// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/bitmap_tree.hpp"

#include <bit>

namespace guest::mm {

namespace {

constexpr std::uint64_t words_for(std::uint64_t bits) {
  return (bits + 63) / 64;
}

} // namespace

std::size_t BitmapTree::words_needed(std::uint64_t bits) {
  std::uint64_t total = 0;
  do {
    bits = words_for(bits);
    total += bits;
  } while (bits > 1);
  return total;
}

BitmapTree::BitmapTree(std::span<std::uint64_t> words, std::uint64_t bits) : bits_(bits) {
  // Levels lie root first, so level 0 ends where the memory ends.
  std::size_t end = words_needed(bits);
  std::uint64_t level_words = bits;
  do {
    level_words = words_for(level_words);
    end -= level_words;
    level_[level_count_++] = words.data() + end;
  } while (level_words > 1);
}

void BitmapTree::set_above(std::uint64_t word_index) {
  for (unsigned level = 1; level < level_count_; ++level) {
    std::uint64_t& word = level_[level][word_index / word_bits];
    const std::uint64_t before = word;
    word = before | (std::uint64_t{1} << (word_index % word_bits));
    if (before != 0) {
      return; // so does the summary above
    }
    word_index /= word_bits;
  }
}

bool BitmapTree::clear_above(std::uint64_t word_index) {
  for (unsigned level = 1; level < level_count_; ++level) {
    std::uint64_t& word = level_[level][word_index / word_bits];
    const std::uint64_t before = word;
    word = before & ~(std::uint64_t{1} << (word_index % word_bits));
    if (word != 0) {
      return false;
    }
    word_index /= word_bits;
  }
  return true;
}

std::uint64_t BitmapTree::descend_lowest(unsigned level, std::uint64_t word) const {
  for (;;) {
    word = word * word_bits + static_cast<unsigned>(std::countr_zero(level_[level][word]));
    if (level == 0) {
      return word;
    }
    --level;
  }
}

std::uint64_t BitmapTree::find_first() const {
  return empty() ? none : descend_lowest(level_count_ - 1, 0);
}

std::uint64_t BitmapTree::find_last() const {
  if (empty()) {
    return none;
  }
  std::uint64_t word = 0;
  for (unsigned level = level_count_; level-- > 0;) {
    word = word * word_bits + (63U - static_cast<unsigned>(std::countl_zero(level_[level][word])));
  }
  return word;
}

std::uint64_t BitmapTree::find_next(std::uint64_t from) const {
  std::uint64_t level_bits = bits_;
  for (unsigned level = 0; level < level_count_; ++level) {
    if (from >= level_bits) {
      return none;
    }
    const std::uint64_t word = from / word_bits;
    const std::uint64_t rest = level_[level][word] >> (from % word_bits);
    if (rest != 0) {
      const std::uint64_t bit = from + static_cast<unsigned>(std::countr_zero(rest));
      return level == 0 ? bit : descend_lowest(level - 1, bit);
    }
    // Nothing left in this word: look for the next non-zero word one level up.
    from = word + 1;
    level_bits = words_for(level_bits);
  }
  return none;
}

} // namespace guest::mm
