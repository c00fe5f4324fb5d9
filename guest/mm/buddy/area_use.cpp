// SPDX-License-Identifier: MIT
#include "guest/mm/buddy/area_use.hpp"

namespace guest::mm {

namespace {

constexpr std::uint64_t counts_per_word = 2;

constexpr std::size_t count_words(std::uint64_t areas) {
  return (areas + counts_per_word - 1) / counts_per_word;
}

} // namespace

std::size_t AreaUse::words_needed(std::uint64_t frames) {
  const std::uint64_t areas = frames / area_frames;
  return count_words(areas) + BitmapTree::words_needed(areas);
}

AreaUse::AreaUse(std::span<std::uint64_t> words, abi::Pfn base, std::uint64_t frames)
    : base_(base) {
  static_assert(sizeof(Counts) * counts_per_word == sizeof(std::uint64_t));
  const std::uint64_t areas = frames / area_frames;
  // Zero words become an array of trivial structs of 16-bit counts.
  counts_ = reinterpret_cast<Counts*>(words.data());
  sparse_ = BitmapTree(words.subspan(count_words(areas)), areas);
}

void AreaUse::mark(std::uint64_t area, bool sparse) {
  if (sparse) {
    sparse_.set(area);
  } else {
    sparse_.clear(area);
  }
}

} // namespace guest::mm
