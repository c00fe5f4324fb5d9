// SPDX-License-Identifier: MIT
// Which guest memory is resident, asked of the kernel's page tables (PAGEMAP_SCAN, Linux 6.7). The
// zero page, which a read of discarded memory maps, does not count.
//
// A pass walks all of RAM once and shows what it finds to everybody who has subscribed: whoever
// wants to know does not walk the tables again.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/page_scan.hpp"

namespace vmm {

enum class Occasion : std::uint8_t {
  routine, // one of many
  mark,    // the measured interval begins or ends here: nobody should leave it out
};

// Looks at what a pass finds. Called by the thread of the pass, one pass at a time.
class FrameWatcher {
 public:
  virtual ~FrameWatcher() = default;

  // `now_ns` is from before the tables are read. False: this pass is not wanted, and none of it is
  // shown.
  virtual bool pass_begins(std::uint64_t now_ns, Occasion occasion) = 0;
  // In address order; no part twice in a pass.
  virtual void resident(abi::Gpa start, std::uint64_t bytes) = 0;
  // After each pass that was wanted.
  enum class Ended : std::uint8_t { complete, broken_off };
  virtual void pass_ends(Ended how) = 0;
};

class FrameScan {
 public:
  // Does what ioctl(PAGEMAP_SCAN) does: returns the number of regions, or -1 and errno.
  using Kernel = std::move_only_function<int(PageScan&)>;
  using Found = std::function<void(abi::Gpa start, std::uint64_t bytes)>;

  // Environment error where the kernel has no such scan. `memory`'s mapping outlives the scan.
  static Result<FrameScan> create(const GuestMemory& memory);
  // The same of the guest's own area outside RAM; its addresses count from its start.
  static Result<FrameScan> create_of_own_area(const GuestMemory& memory);
  // Of [base, base + bytes) in this process.
  FrameScan(const std::byte* base, std::uint64_t bytes, Kernel kernel);

  // One thread at a time uses a scan. Nothing below allocates, unless it fails.

  // Calls found(start, bytes) for resident memory in [start, start + bytes), in address order, no
  // part twice. Environment error when the kernel broke off; what was found till then stands.
  Result<void> each(abi::Gpa start, std::uint64_t bytes, const Found& found);

  // The watcher outlives the scan's passes.
  void subscribe(FrameWatcher& watcher);
  // Walks all of RAM for all watchers that want it. Returns how many bytes are resident.
  Result<std::uint64_t> pass(std::uint64_t now_ns, Occasion occasion);
  // The same where only the watchers want to know: without one that wants it, nothing happens.
  Result<void> pass_for_watchers(std::uint64_t now_ns, Occasion occasion);

 private:
  struct Region { // struct page_region of linux/fs.h
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t categories = 0;
  };

  static Result<FrameScan> create_of(std::span<const std::byte> memory);
  void find_wanting(std::uint64_t now_ns, Occasion occasion);
  Result<std::uint64_t> walk();

  std::uint64_t base_; // host address of guest RAM
  std::uint64_t bytes_;
  Kernel kernel_;
  std::vector<Region> regions_; // scratch of each()
  std::vector<FrameWatcher*> watchers_;
  std::vector<FrameWatcher*> wanting_; // scratch of a pass
};

} // namespace vmm
