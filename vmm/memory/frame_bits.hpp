// SPDX-License-Identifier: MIT
// A range of frames as whole words of a bitmap with a bit per frame.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"

namespace vmm {

inline constexpr std::uint64_t frames_per_word = 64;

// How many words hold that many frames.
[[nodiscard]] constexpr std::size_t words_for(std::uint64_t frames) {
  return (frames + frames_per_word - 1) / frames_per_word;
}

// Calls visit(index, mask) for each word that [start, start + bytes) has bits in, in order, until
// one returns false. Whether all returned true.
template <typename Visit> bool each_word(abi::Gpa start, std::uint64_t bytes, Visit visit) {
  std::uint64_t frame = abi::to_pfn(start).value;
  const std::uint64_t end = frame + bytes / abi::page_bytes;
  while (frame < end) {
    const std::uint64_t bit = frame % frames_per_word;
    const std::uint64_t count = std::min(end - frame, frames_per_word - bit);
    const std::uint64_t mask =
        (count == frames_per_word ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1) << bit;
    if (!visit(frame / frames_per_word, mask)) {
      return false;
    }
    frame += count;
  }
  return true;
}

} // namespace vmm
