// SPDX-License-Identifier: MIT
#include "vmm/refault_watch.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "vmm/page_scan.hpp"

namespace vmm {
namespace {

constexpr std::size_t region_capacity = 4096;
constexpr std::uint64_t frames_per_word = 64;

} // namespace

std::optional<RefaultWatch> RefaultWatch::create(const GuestMemory& memory) {
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) {
    return std::nullopt;
  }
  RefaultWatch watch(memory, std::move(pagemap));
  PageScan probe;
  probe.start = watch.base_;
  probe.end = watch.base_ + abi::page_bytes;
  probe.regions = reinterpret_cast<std::uintptr_t>(watch.regions_.data());
  probe.region_count = 1;
  probe.required = page_is_present;
  probe.returned = page_is_present;
  if (::ioctl(watch.pagemap_.get(), page_scan_request, &probe) < 0) {
    return std::nullopt;
  }
  return watch;
}

RefaultWatch::RefaultWatch(const GuestMemory& memory, UniqueFd pagemap)
    : base_(reinterpret_cast<std::uintptr_t>(memory.base())), bytes_(memory.mapped_bytes()),
      pagemap_(std::move(pagemap)),
      watched_((bytes_ / abi::page_bytes + frames_per_word - 1) / frames_per_word),
      regions_(region_capacity) {}

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
  PageScan request;
  request.start = base_;
  request.end = base_ + bytes_;
  request.regions = reinterpret_cast<std::uintptr_t>(regions_.data());
  request.region_count = regions_.size();
  // Present, and not the zero page that a read of discarded memory maps.
  request.required = page_is_present | page_is_zero_page;
  request.inverted = page_is_zero_page;
  request.returned = page_is_present;
  while (request.start < request.end) {
    const int regions = ::ioctl(pagemap_.get(), page_scan_request, &request);
    if (regions < 0) {
      return;
    }
    for (const Region& region : std::span(regions_).first(static_cast<std::size_t>(regions))) {
      std::uint64_t run = 0;
      const std::uint64_t end = (region.end - base_) / abi::page_bytes;
      for (std::uint64_t frame = (region.start - base_) / abi::page_bytes; frame <= end; ++frame) {
        if (frame < end && take(frame)) {
          ++run;
        } else if (run != 0) {
          found(abi::to_gpa({frame - run}), run * abi::page_bytes);
          run = 0;
        }
      }
    }
    request.start = request.walk_end;
  }
}

} // namespace vmm
