// SPDX-License-Identifier: MIT
// The PAGEMAP_SCAN ioctl of linux/fs.h (6.7), which older header packages lack.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace vmm {

// struct pm_scan_arg.
struct PageScan {
  std::uint64_t struct_bytes = sizeof(PageScan);
  std::uint64_t flags = 0;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t walk_end = 0; // out
  std::uint64_t regions = 0;  // address of the result array
  std::uint64_t region_count = 0;
  std::uint64_t max_pages = 0;
  std::uint64_t inverted = 0;
  std::uint64_t required = 0;
  std::uint64_t any_of = 0;
  std::uint64_t returned = 0;
};
static_assert(sizeof(PageScan) == 96);
inline constexpr unsigned long page_scan_request = _IOWR('f', 16, PageScan);

inline constexpr std::uint64_t page_is_present = 1U << 3;
inline constexpr std::uint64_t page_is_zero_page = 1U << 5;

} // namespace vmm
