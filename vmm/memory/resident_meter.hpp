// SPDX-License-Identifier: MIT
// Measures how much of guest RAM is resident, from the kernel's own books.
//
//   page_scan    anonymous memory: PAGEMAP_SCAN (Linux 6.7), counting present pages that are not
//                the shared zero page. Cost by what is mapped: about 1.1 ms per GiB of touched
//                4 KiB pages, 13 us per GiB of huge pages.
//   smaps        anonymous memory on older kernels: Rss of the VMAs of guest RAM; 2 to 8 times
//                the cost.
//   file_blocks  memfd and hugetlb: the blocks of the file, less than 1 us.
//
// What a guest has outside RAM, image and stacks, is anonymous memory whatever the backing, and
// counted along: by a scan of its own, by smaps where there is none.
//
// (mincore would be cheaper still but counts the zero page, which is what a guest that reads
// discarded memory maps.) "Resident" is what is mapped: 4 KiB discarded out of a transparent huge
// page are not resident any more, though the host gets the huge page back only when it splits it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

enum class ResidentMethod : std::uint8_t { page_scan, smaps, file_blocks };

// One thread at a time.
class ResidentMeter {
 public:
  // The best method that works here. `scan` is of the same memory, null where the kernel has none;
  // both outlive the meter.
  static Result<ResidentMeter> create(const GuestMemory& memory, FrameScan* scan);
  // A method of the caller's choice; environment error if it does not fit or does not work.
  static Result<ResidentMeter> create(const GuestMemory& memory, FrameScan* scan,
                                      ResidentMethod method);

  [[nodiscard]] ResidentMethod method() const { return method_; }

  // Resident bytes of the guest now, which is `now_ns`. Whatever the method, watchers of the scan
  // see the pass that they want. Allocates nothing unless it fails.
  Result<std::uint64_t> sample(std::uint64_t now_ns, Occasion occasion);

 private:
  // Host addresses.
  struct Range {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
  };

  ResidentMeter(const GuestMemory& memory, FrameScan* scan, ResidentMethod method);

  [[nodiscard]] Result<void> open_smaps();
  Result<std::uint64_t> sample_ram(std::uint64_t now_ns, Occasion occasion);
  Result<std::uint64_t> sample_own_area(std::uint64_t now_ns, Occasion occasion);
  Result<std::uint64_t> sample_smaps(Range range);
  Result<std::uint64_t> sample_file_blocks() const;

  Range ram_;
  Range own_; // empty: there is none
  int memory_fd_;
  FrameScan* scan_;
  std::optional<FrameScan> own_scan_;
  ResidentMethod method_;
  UniqueFd smaps_;         // kept open
  std::vector<char> text_; // scratch of sample_smaps(), sized once
};

} // namespace vmm
