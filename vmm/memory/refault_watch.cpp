// SPDX-License-Identifier: MIT
#include "vmm/memory/refault_watch.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace vmm {
namespace {

constexpr std::uint64_t frames_per_word = 64;

} // namespace

std::optional<RefaultWatch> RefaultWatch::create(const GuestMemory& memory) {
  auto scan = ResidentScan::create(memory);
  return scan ? std::optional(RefaultWatch(memory, std::move(*scan))) : std::nullopt;
}

RefaultWatch::RefaultWatch(const GuestMemory& memory, ResidentScan scan)
    : scan_(std::move(scan)),
      watched_((memory.end().value / abi::page_bytes + frames_per_word - 1) / frames_per_word) {}

void RefaultWatch::set(abi::Gpa start, std::uint64_t bytes, bool watched) {
  std::uint64_t frame = abi::to_pfn(start).value;
  const std::uint64_t end = frame + bytes / abi::page_bytes;
  while (frame < end) {
    const std::uint64_t bit = frame % frames_per_word;
    const std::uint64_t count = std::min(end - frame, frames_per_word - bit);
    const std::uint64_t mask =
        (count == frames_per_word ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1) << bit;
    const std::atomic_ref word(watched_[frame / frames_per_word]);
    if (watched) {
      word.fetch_or(mask, std::memory_order_relaxed);
    } else {
      word.fetch_and(~mask, std::memory_order_relaxed);
    }
    frame += count;
  }
}

bool RefaultWatch::take(std::uint64_t frame) {
  const std::atomic_ref word(watched_[frame / frames_per_word]);
  const std::uint64_t mask = std::uint64_t{1} << (frame % frames_per_word);
  return (word.load(std::memory_order_relaxed) & mask) != 0 &&
         (word.fetch_and(~mask, std::memory_order_relaxed) & mask) != 0;
}

void RefaultWatch::scan(const std::function<void(abi::Gpa, std::uint64_t)>& found) {
  static_cast<void>(scan_.each([&](abi::Gpa start, std::uint64_t bytes) {
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
  }));
}

} // namespace vmm
