// SPDX-License-Identifier: MIT
#include "vmm/memory/refault_watch.hpp"

#include <atomic>

#include "vmm/memory/frame_bits.hpp"

namespace vmm {
RefaultWatch::RefaultWatch(const GuestMemory& memory)
    : watched_(words_for(memory.end().value / abi::page_bytes)) {}

void RefaultWatch::set(abi::Gpa start, std::uint64_t bytes, bool watched) {
  each_word(start, bytes, [&](std::size_t index, std::uint64_t mask) {
    const std::atomic_ref word(watched_[index]);
    const std::uint64_t now = word.load(std::memory_order_relaxed) & mask;
    if (watched && now != mask) {
      word.fetch_or(mask, std::memory_order_relaxed);
    } else if (!watched && now != 0) {
      word.fetch_and(~mask, std::memory_order_relaxed);
    }
    return true;
  });
}

bool RefaultWatch::take(std::uint64_t frame) {
  const std::atomic_ref word(watched_[frame / frames_per_word]);
  const std::uint64_t mask = std::uint64_t{1} << (frame % frames_per_word);
  return (word.load(std::memory_order_relaxed) & mask) != 0 &&
         (word.fetch_and(~mask, std::memory_order_relaxed) & mask) != 0;
}

void RefaultWatch::take(abi::Gpa start, std::uint64_t bytes,
                        const std::function<void(abi::Gpa, std::uint64_t)>& found) {
  std::uint64_t run = 0;
  const std::uint64_t end = (start.value + bytes) / abi::page_bytes;
  for (std::uint64_t frame = start.value / abi::page_bytes; frame <= end; ++frame) {
    if (frame < end && take(frame)) {
      ++run;
    } else if (run != 0) {
      found(abi::to_gpa({frame - run}), run * abi::page_bytes);
      run = 0;
    }
  }
}

} // namespace vmm
