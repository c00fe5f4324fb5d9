// SPDX-License-Identifier: MIT
#include "vmm/memory/resident_scan.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <span>
#include <utility>

#include "vmm/memory/page_scan.hpp"

namespace vmm {
namespace {

constexpr std::size_t region_capacity = 4096;

} // namespace

std::optional<ResidentScan> ResidentScan::create(const GuestMemory& memory) {
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) {
    return std::nullopt;
  }
  ResidentScan scan(memory, std::move(pagemap));
  PageScan probe;
  probe.start = scan.base_;
  probe.end = scan.base_ + abi::page_bytes;
  probe.regions = reinterpret_cast<std::uintptr_t>(scan.regions_.data());
  probe.region_count = 1;
  probe.required = page_is_present;
  probe.returned = page_is_present;
  if (::ioctl(scan.pagemap_.get(), page_scan_request, &probe) < 0) {
    return std::nullopt;
  }
  return scan;
}

ResidentScan::ResidentScan(const GuestMemory& memory, UniqueFd pagemap)
    : base_(reinterpret_cast<std::uintptr_t>(memory.base())), bytes_(memory.end().value),
      pagemap_(std::move(pagemap)), regions_(region_capacity) {}

bool ResidentScan::each(const std::function<void(abi::Gpa, std::uint64_t)>& found) {
  PageScan request;
  request.start = base_;
  request.end = base_ + bytes_;
  request.regions = reinterpret_cast<std::uintptr_t>(regions_.data());
  request.region_count = regions_.size();
  request.required = page_is_present | page_is_zero_page;
  request.inverted = page_is_zero_page;
  request.returned = page_is_present;
  while (request.start < request.end) {
    const int regions = ::ioctl(pagemap_.get(), page_scan_request, &request);
    if (regions < 0) {
      return false;
    }
    for (const Region& region : std::span(regions_).first(static_cast<std::size_t>(regions))) {
      found({region.start - base_}, region.end - region.start);
    }
    request.start = request.walk_end;
  }
  return true;
}

} // namespace vmm
