// SPDX-License-Identifier: MIT
#include "vmm/memory/frame_scan.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <span>
#include <utility>

#include "vmm/base/unique_fd.hpp"

namespace vmm {
namespace {

constexpr std::size_t region_capacity = 4096;

std::uint64_t number_of(const void* pointer) {
  // Justified: the kernel takes addresses as numbers.
  return reinterpret_cast<std::uintptr_t>(pointer);
}

} // namespace

Result<FrameScan> FrameScan::create(const GuestMemory& memory) {
  return create_of({memory.base(), memory.mapped_bytes()});
}

Result<FrameScan> FrameScan::create_of_own_area(const GuestMemory& memory) {
  return create_of(memory.own_area());
}

Result<FrameScan> FrameScan::create_of(std::span<const std::byte> memory) {
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) {
    return system_error("cannot open /proc/self/pagemap to look at page tables");
  }
  FrameScan scan(memory.data(), memory.size(), [pagemap = std::move(pagemap)](PageScan& request) {
    return ::ioctl(pagemap.get(), page_scan_request, &request);
  });
  EBB_TRY(scan.each({0}, abi::page_bytes, [](abi::Gpa, std::uint64_t) {}));
  return scan;
}

FrameScan::FrameScan(const std::byte* base, std::uint64_t bytes, Kernel kernel)
    : base_(number_of(base)), bytes_(bytes), kernel_(std::move(kernel)), regions_(region_capacity) {
}

Result<void> FrameScan::each(abi::Gpa start, std::uint64_t bytes, const Found& found) {
  std::uint64_t position = base_ + start.value;
  const std::uint64_t end = position + bytes;
  while (position < end) {
    PageScan request;
    request.start = position;
    request.end = end;
    request.regions = number_of(regions_.data());
    request.region_count = regions_.size();
    request.required = page_is_present | page_is_zero_page;
    request.inverted = page_is_zero_page;
    request.returned = page_is_present;
    const int count = kernel_(request);
    if (count < 0) {
      return system_error("PAGEMAP_SCAN of guest memory failed");
    }
    // Linux 6.18 was seen to return a walk_end before the last region when the array was full:
    // going on there would find memory twice.
    std::uint64_t next = request.walk_end;
    for (const Region& region : std::span(regions_).first(
             std::min<std::size_t>(static_cast<std::size_t>(count), regions_.size()))) {
      found({region.start - base_}, region.end - region.start);
      next = std::max(next, region.end);
    }
    if (next <= position) {
      return environment_error("PAGEMAP_SCAN of guest memory made no progress");
    }
    position = next;
  }
  return {};
}

void FrameScan::subscribe(FrameWatcher& watcher) {
  watchers_.push_back(&watcher);
  wanting_.reserve(watchers_.size());
}

void FrameScan::find_wanting(std::uint64_t now_ns, Occasion occasion) {
  wanting_.clear();
  for (FrameWatcher* const watcher : watchers_) {
    if (watcher->pass_begins(now_ns, occasion)) {
      wanting_.push_back(watcher);
    }
  }
}

Result<std::uint64_t> FrameScan::walk() {
  std::uint64_t resident_bytes = 0;
  const auto walked = each({0}, bytes_, [&](abi::Gpa start, std::uint64_t bytes) {
    resident_bytes += bytes;
    for (FrameWatcher* const watcher : wanting_) {
      watcher->resident(start, bytes);
    }
  });
  for (FrameWatcher* const watcher : wanting_) {
    watcher->pass_ends(walked ? FrameWatcher::Ended::complete : FrameWatcher::Ended::broken_off);
  }
  EBB_TRY(walked);
  return resident_bytes;
}

Result<std::uint64_t> FrameScan::pass(std::uint64_t now_ns, Occasion occasion) {
  find_wanting(now_ns, occasion);
  return walk();
}

Result<void> FrameScan::pass_for_watchers(std::uint64_t now_ns, Occasion occasion) {
  find_wanting(now_ns, occasion);
  if (!wanting_.empty()) {
    EBB_TRY(walk());
  }
  return {};
}

} // namespace vmm
