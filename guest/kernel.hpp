// SPDX-License-Identifier: MIT
// The guest's one root object: clock, page allocator with its reporter, small-object heap. Made
// once by kmain, reachable from every vCPU through its page.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/mm/page_allocator.hpp"
#include "guest/mm/page_platform.hpp"
#include "guest/mm/small_heap.hpp"
#include "guest/runtime/clock.hpp"
#include "shared/boot_info.hpp"
#include "shared/guest_status.hpp"

namespace guest {

class Kernel final : private mm::PagePlatform, private mm::PageSource {
 public:
  // Checks what the host says of itself, lays out free memory (allocator metadata first) and
  // negotiates. Panics when host and guest cannot work together.
  explicit Kernel(const abi::BootInfo& boot);
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // The kernel of the calling vCPU; null before kmain made it.
  [[nodiscard]] static Kernel* current();
  // Makes current() return this on the calling vCPU.
  void adopt_vcpu();

  [[nodiscard]] const abi::BootInfo& boot() const { return boot_; }
  [[nodiscard]] abi::GuestStatus& status() { return status_; }
  [[nodiscard]] mm::PageAllocator& pages() { return pages_; }
  [[nodiscard]] mm::SmallHeap& heap() { return heap_; }

  // Page blocks on the calling vCPU; nullptr when out of memory. A bad free panics.
  [[nodiscard]] void* allocate_pages(abi::Order order) override;
  void free_pages(void* block, abi::Order order) override;

  [[nodiscard]] std::uint64_t now_ns() override { return clock_.now_ns(); }
  // Idles the calling vCPU until the clock has reached `deadline`; reports meanwhile.
  void sleep_until_ns(std::uint64_t deadline);
  // Reports everything and waits, bounded, for the answers.
  void settle();

  // Value of a "key=value" boot argument.
  [[nodiscard]] std::optional<std::string_view> arg(std::string_view key) const;

 private:
  void trace_caller();
  void ring_doorbell(unsigned channel) override;
  [[nodiscard]] bool plug(abi::Gpa next) override;
  void relax() override;
  [[nodiscard]] std::optional<abi::Order> block_order(const void* address) const override;

  const abi::BootInfo& boot_;
  abi::GuestStatus& status_;
  Clock clock_;
  mm::PageAllocator pages_;
  mm::SmallHeap heap_;
};

} // namespace guest
